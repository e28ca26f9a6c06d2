// Changes of one key that ask before a value is lost.
//
// In: a key, and a value for it. Out: what has happened. Promise: what was shown in the question is what is lost: a pair that changes
// between question and answer is asked about again (`If-Match`).

import { bytes as size, shown } from "./page.js";
import * as pairs from "./pairs.js";
import { question } from "./question.js";

/** Describes a pair, as far as this user may read it. */
export function described(pair) {
  if (pair.bytes === undefined) {
    return "a value that you may not read";
  }
  const text = pairs.textOf(pair.bytes.subarray(0, 400), true);
  const value = pair.bytes.length === 0 ? "an empty value" : `${size(pair.bytes.length)}, ${text === null ? "binary" : shown(text)}`;
  return pair.expiresAt === null ? value : `${value}, which expires ${pair.expiresAt.toLocaleString()}`;
}

/** Returns what is stored under a key: null for nothing; whatever it is, for a user who may not read it. */
async function stored(key) {
  try {
    return await pairs.find(key);
  } catch (error) {
    if (error.status === 403) {
      return { etag: "*" };
    }
    throw error;
  }
}

/** Repeats a change until its condition holds. */
async function retried(change) {
  for (;;) {
    try {
      return await change();
    } catch (error) {
      if (error.status !== 412) {
        throw error;
      }
    }
  }
}

/** Stores a value. Returns what it has replaced, null for nothing; undefined if nothing was stored. */
export async function put(key, bytes, expiry) {
  try {
    await pairs.write(key, bytes, expiry, { "If-None-Match": "*" });
    return null;
  } catch (error) {
    if (error.status !== 412) {
      throw error;
    }
  }
  return retried(async () => {
    const there = await stored(key);
    if (there !== null && !await question(`Overwrite ${shown(key)}? It has ${described(there)}, and cannot be brought back.`, "Overwrite")) {
      return undefined;
    }
    await pairs.write(key, bytes, expiry, there === null ? { "If-None-Match": "*" } : { "If-Match": there.etag });
    return there;
  });
}

/** Asks whether a pair may be deleted. */
export const mayDelete = (key, pair) =>
  question(`Delete ${shown(key)}? It has ${described(pair)}, and cannot be brought back.`, "Delete");

/** Deletes a key. Returns whether it has; throws 404 if there is none. */
export function remove(key) {
  return retried(async () => {
    const there = await stored(key);
    if (there !== null && !await mayDelete(key, there)) {
      return false;
    }
    await pairs.remove(key, { "If-Match": there?.etag ?? "*" });
    return true;
  });
}
