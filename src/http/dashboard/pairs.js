// Reads and changes pairs through the API; values are bytes.

import { ask } from "./page.js";

/** The key is in the query: browsers resolve `.` and `..` in a path, even when they are percent-encoded. */
const path = (key) => `/api/v1/key?key=${encodeURIComponent(key)}`;

export function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/** Decodes UTF-8; null for other bytes. `isCut`: the last character may be incomplete. */
export function textOf(bytes, isCut = false) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: isCut });
  } catch {
    return null;
  }
}

export const bytesOf = (text) => new TextEncoder().encode(text);

function valueOf(bytes) {
  const text = textOf(bytes);
  return text === null ? { $base64: toBase64(bytes) } : text;
}

/** Reads a pair: the bytes of its value, its ETag and its expiry. */
export async function read(key) {
  // The ETag is that of the value: a response that the browser has kept may have another expiry.
  const { answer, etag } = await ask(path(key), { cache: "no-store" });
  const { value, expires_at: expiresAt } = answer;
  return {
    bytes: typeof value === "string" ? bytesOf(value) : fromBase64(value.$base64),
    etag,
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
  };
}

/** Reads a pair; null if there is none. */
export async function find(key) {
  try {
    return await read(key);
  } catch (error) {
    if (error.status === 404) {
      return null;
    }
    throw error;
  }
}

/** Returns those of these keys that exist. */
export async function existing(keys) {
  const exist = await Promise.all(keys.map((key) => etagOf(key).then(() => true, (error) => {
    if (error.status === 404) {
      return false;
    }
    throw error;
  })));
  return keys.filter((_, place) => exist[place]);
}

/** Returns the ETag alone, of a value too long to be read. */
export async function etagOf(key) {
  const { etag } = await ask(path(key), { method: "HEAD" });
  return etag;
}

/** Stores a value; `expiry` holds the expiry member of the request body, or nothing. */
export function write(key, bytes, expiry, conditions) {
  return change("PUT", key, { value: valueOf(bytes), ...expiry }, conditions);
}

/** Sets the expiry of a pair. */
export function setExpiry(key, expiry, conditions) {
  return change("PATCH", key, expiry, conditions);
}

export function remove(key, conditions) {
  return ask(path(key), { method: "DELETE", headers: conditions });
}

function change(method, key, body, conditions) {
  return ask(path(key), { method, headers: { "Content-Type": "application/json", ...conditions }, body: JSON.stringify(body) });
}
