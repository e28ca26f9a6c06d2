// Counts of namespaces, and how old they are: the server caches a count for a while, which grows with the number of keys.

import { ago, ask } from "./page.js";

/** The age at which a count is said to be old. */
const OLD_MS = 10_000;

/** Returns the namespaces below a prefix, largest first, and the time of the count. `isNew`: after every change that was answered. */
export async function namespaces(prefix, limit, isNew = false) {
  const query = new URLSearchParams({ prefix, limit });
  const { answer, at } = await ask(`/api/v1/namespaces?${query}`, { cache: isNew ? "reload" : "default" });
  // By the server's clock, as that of this machine may differ.
  const age = Math.max(0, at - Date.parse(answer.counted_at)) || 0;
  return { ...answer, countedAt: Date.now() - age };
}

export const isOld = (countedAt) => Date.now() - countedAt > OLD_MS;

/** Shows the age of a count, once it is old. */
export function showAge(note, countedAt) {
  note.hidden = countedAt === null || !isOld(countedAt);
  note.textContent = note.hidden ? "" : `Counted ${ago(countedAt)}.`;
}
