// The explorer: pairs page by page, searched on the server; opens one pair; deletes by prefix. The list says how old it is, and what
// the person has changed.

import * as editor from "./editor.js";
import { ago, ask, bytes, count, find, make, shown as quoted } from "./page.js";
import * as pairs from "./pairs.js";
import { mayDeletePrefix } from "./question.js";
import * as tree from "./tree.js";

const PAGE = 50;
/** How long a search continues on its own while pages come back nearly empty. */
const LOOK_MS = 3000;
/** The age at which a list is said to be old. */
const OLD_MS = 10_000;
/** Characters of a key that are shown in the list. */
const KEY_CHARACTERS_MAX = 200;

const search = find("search");
/** What the list was searched by: the fields may have been changed since. */
let listed = { prefix: "", search: "" };
/** When the first page of the list was read; null while there is none. */
let listedAt = null;
let asked = 0;
let cursor = null;
/** Pairs that the server has examined for all pages so far. */
let lookedAt = 0;

function query() {
  const fields = new URLSearchParams({ ...listed, limit: PAGE });
  if (cursor !== null) {
    fields.set("cursor", cursor);
  }
  return fields;
}

/** Shows what has happened, and what is listed. */
function say(text, outcome = "") {
  find("found").replaceChildren(...(outcome === "" ? [] : [make("strong", {}, outcome), " "]), text);
}

function showAge() {
  const isOld = listedAt !== null && Date.now() - listedAt > OLD_MS;
  find("listed").hidden = !isOld;
  find("listed-age").textContent = isOld ? `Listed ${ago(listedAt)}.` : "";
}

/** Reads the next page; `outcome` is what has been done before. */
async function load(isFirst, outcome = "") {
  asked += 1;
  const mine = asked;
  if (isFirst) {
    listed = { prefix: search.elements.prefix.value, search: search.elements.search.value };
    [cursor, lookedAt, listedAt] = [null, 0, Date.now()];
    say("Searching.", outcome);
    showAge();
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
      if (isFirst && added === 0 && lookedAt === 0) {
        find("pairs").replaceChildren();
      }
      // Text, because a cursor may exceed the integers that JavaScript represents exactly.
      cursor = answer.cursor;
      lookedAt += answer.looked_at;
      added += answer.keys.length;
      find("pairs").append(...answer.keys.map(row));
      const rows = find("pairs").children.length;
      say(cursor === null
        ? (rows === 0 ? "No key is like this." : `${count(rows)} shown; these are all.`)
        : `${count(rows)} shown, of ${count(lookedAt)} looked at; there may be more.`, outcome);
    } while (cursor !== null && added < PAGE && Date.now() < until);
  } catch (error) {
    if (isFirst) {
      find("pairs").replaceChildren();
      listedAt = null;
    }
    say(error.message, outcome);
  }
  find("more").hidden = cursor === null;
}

/** Returns a key as it is shown: quoted if nothing of it can be seen. */
function shownKey(key) {
  if (key === "") {
    return "(the empty key)";
  }
  const beginning = key.slice(0, KEY_CHARACTERS_MAX);
  const text = /[^\p{C}\p{Z}]/u.test(beginning) ? beginning : JSON.stringify(beginning);
  return key.length > KEY_CHARACTERS_MAX ? `${text}…` : text;
}

function row(pair) {
  const link = make("button", { class: "link", type: "button" }, shownKey(pair.key));
  link.addEventListener("click", () => openPair(pair));
  const value = pair.encoding === "base64" ? `base64 ${pair.value}` : pair.value;
  const whole = pair.bytes === 0 ? make("em", {}, "(empty)") : pair.is_whole ? value : `${value}…`;
  const shownRow = make("tr", {},
    make("td", { class: "key" }, link),
    make("td", { class: "value" }, make("div", {}, whole)),
    make("td", { class: "number" }, bytes(pair.bytes)),
    make("td", { class: "expires" }, pair.expires_at === null ? "" : new Date(pair.expires_at).toLocaleString()));
  shownRow.key = pair.key;
  return shownRow;
}

const rowOf = (key) => [...find("pairs").children].find((shownRow) => shownRow.key === key);

/** Returns a pair as the list of the server would have it. */
async function readRow(key) {
  const pair = await pairs.find(key);
  if (pair === null) {
    return null;
  }
  const text = pairs.textOf(pair.bytes);
  const value = text ?? pairs.toBase64(pair.bytes);
  return row({
    key, value: value.slice(0, KEY_CHARACTERS_MAX), encoding: text === null ? "base64" : "text", is_whole: value.length <= KEY_CHARACTERS_MAX,
    bytes: pair.bytes.length, expires_at: pair.expiresAt,
  });
}

async function openPair(pair) {
  try {
    await editor.edit(pair, changed);
  } catch (error) {
    say(error.status === 404 ? `There is no key ${quoted(pair.key)} any more.` : `${quoted(pair.key)}: ${error.message}`);
  }
}

/** Shows the list and the tree after a change of a key. A new key is shown, whether or not it is on this page of the list. */
async function changed(key, what) {
  const focused = document.activeElement;
  const counted = tree.show(true);
  await load(true, `${what} ${quoted(key)}.`);
  const mine = asked;
  if (what === "Created" && rowOf(key) === undefined) {
    const created = await readRow(key);
    // The person may have searched for something else meanwhile.
    if (created !== null && mine === asked) {
      find("pairs").prepend(created);
    }
  }
  const changedRow = rowOf(key);
  changedRow?.classList.add("changed");
  // Unless the person has gone elsewhere; the row from which the pair was opened is no more.
  if ([document.body, focused].includes(document.activeElement)) {
    (changedRow?.querySelector("button") ?? find("create")).focus();
  }
  await counted;
}

async function deletePrefix() {
  // What is deleted is what is listed.
  await load(true);
  const { prefix, search: text } = listed;
  try {
    if (prefix === "") {
      throw new Error("Say first which prefix to delete. To delete all keys, use Clear under Data.");
    }
    const remark = text === "" ? "" : ` The list shows only those with ${quoted(text)}; the others are deleted, too.`;
    const { keys, may } = await mayDeletePrefix(prefix, remark);
    if (keys === 0) {
      throw new Error(`No key begins with ${JSON.stringify(prefix)}.`);
    }
    if (may) {
      const { answer: { deleted } } = await ask(`/api/v1/keys?prefix=${encodeURIComponent(prefix)}`, { method: "DELETE" });
      const more = keys !== null && deleted > keys ? ` That is ${count(deleted - keys)} more than when you were asked.` : "";
      await Promise.all([load(true, `${count(deleted)} deleted.${more}`), tree.show(true)]);
    }
  } catch (error) {
    say(error.message);
  }
}

export function open(parameters, wasHidden) {
  if (parameters.has("prefix")) {
    search.elements.prefix.value = parameters.get("prefix");
    search.elements.search.value = "";
  }
  load(true);
  if (wasHidden) {
    tree.open();
  }
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  load(true);
});
find("more").addEventListener("click", () => load(false));
find("refresh").addEventListener("click", () => load(true));
find("create").addEventListener("click", () => editor.create(changed));
find("delete-prefix").addEventListener("click", deletePrefix);
setInterval(showAge, 5000);
// On a narrow screen the pairs come first.
find("namespaces-below").open = !matchMedia("(max-width: 45rem)").matches;
