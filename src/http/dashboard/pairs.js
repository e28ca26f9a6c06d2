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

/** Decodes UTF-8; null for other bytes. */
export function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
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
  const { answer, etag } = await ask(path(key));
  const { value, expires_at: expiresAt } = answer;
  return {
    bytes: typeof value === "string" ? bytesOf(value) : fromBase64(value.$base64),
    etag,
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
  };
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
