// The explorer: pairs page by page, searched on the server; opens one pair; deletes by prefix.

import * as editor from "./editor.js";
import { ask, bytes, count, find, make, question } from "./page.js";
import * as tree from "./tree.js";

const PAGE = 50;
/** How long a search continues on its own while pages come back nearly empty. */
const LOOK_MS = 3000;

const search = find("search");
let asked = 0;
let cursor = null;
/** Pairs that the server has examined for all pages so far. */
let lookedAt = 0;

function query() {
  const fields = new URLSearchParams({ prefix: search.elements.prefix.value, search: search.elements.search.value, limit: PAGE });
  if (cursor !== null) {
    fields.set("cursor", cursor);
  }
  return fields;
}

async function load(isFirst) {
  asked += 1;
  const mine = asked;
  if (isFirst) {
    [cursor, lookedAt] = [null, 0];
    find("pairs").replaceChildren();
    find("found").textContent = "Searching.";
  }
  const until = Date.now() + LOOK_MS;
  let added = 0;
  find("more").hidden = true;
  try {
    do {
      const { answer } = await ask(`/api/v1/keys?${query()}`);
      if (mine !== asked) {
        return;
      }
      // Text, because a cursor may exceed the integers that JavaScript represents exactly.
      cursor = answer.cursor;
      lookedAt += answer.looked_at;
      added += answer.keys.length;
      find("pairs").append(...answer.keys.map(row));
      const shown = find("pairs").children.length;
      find("found").textContent = cursor === null
        ? (shown === 0 ? "No key is like this." : `${count(shown)} shown; these are all.`)
        : `${count(shown)} shown, of ${count(lookedAt)} looked at; there may be more.`;
    } while (cursor !== null && added < PAGE && Date.now() < until);
  } catch (error) {
    find("found").textContent = error.message;
  }
  find("more").hidden = cursor === null;
}

/** Returns a key as it is shown: quoted if nothing of it can be seen. */
function shownKey(key) {
  if (key === "") {
    return "(the empty key)";
  }
  return /[^\p{C}\p{Z}]/u.test(key) ? key : JSON.stringify(key);
}

function row(pair) {
  const link = make("button", { class: "link", type: "button" }, shownKey(pair.key));
  link.addEventListener("click", () => openPair(pair));
  const value = pair.encoding === "base64" ? `base64 ${pair.value}` : pair.value;
  return make("tr", {},
    make("td", {}, link),
    make("td", { class: "value" }, make("div", {}, pair.is_whole ? value : `${value}…`)),
    make("td", { class: "number" }, bytes(pair.bytes)),
    make("td", { class: "nowrap" }, pair.expires_at === null ? "" : new Date(pair.expires_at).toLocaleString()));
}

async function openPair(pair) {
  try {
    await editor.edit(pair, refresh);
  } catch (error) {
    find("found").textContent = `${pair.key}: ${error.message}`;
  }
}

async function refresh() {
  await Promise.all([load(true), tree.show()]);
}

async function deletePrefix() {
  const prefix = search.elements.prefix.value;
  try {
    // Unlike URLSearchParams, it refuses half of a surrogate pair, which the server would read as another prefix.
    const query = `prefix=${encodeURIComponent(prefix)}`;
    if (prefix === "") {
      throw new Error("Say first which prefix to delete. To delete all keys, use Clear under Data.");
    }
    const { answer: { keys } } = await ask(`/api/v1/count?${query}`);
    if (keys === 0) {
      throw new Error(`No key begins with ${JSON.stringify(prefix)}.`);
    }
    const text = `Delete ${count(keys)} ${keys === 1 ? "key that begins" : "keys that begin"} with ${JSON.stringify(prefix)}? They cannot be brought back.`;
    if (await question(text, `Delete ${count(keys)}`)) {
      const { answer: { deleted } } = await ask(`/api/v1/keys?${query}`, { method: "DELETE" });
      await refresh();
      find("found").textContent = `${count(deleted)} deleted.`;
    }
  } catch (error) {
    find("found").textContent = error.message;
  }
}

export function open(parameters, wasHidden) {
  if (parameters.has("prefix")) {
    search.elements.prefix.value = parameters.get("prefix");
    search.elements.search.value = "";
  }
  load(true);
  if (wasHidden) {
    tree.show();
  }
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  load(true);
});
find("more").addEventListener("click", () => load(false));
find("create").addEventListener("click", () => editor.create(refresh));
find("delete-prefix").addEventListener("click", deletePrefix);
