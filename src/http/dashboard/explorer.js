// The explorer: pairs page by page, looked for on the server; one of them read, changed, deleted.

import { ask, bytes, count, find, make } from "./page.js";

const PAGE = 50;
/** How long it looks on by itself where pages come back with little. */
const LOOK_MS = 3000;

const search = find("search");
const editor = find("editor");
const fields = editor.querySelector("form").elements;
let asked = 0;
let cursor = null;
/** The pair that is open: its ETag, and whether its value can be edited here; null for a new one. */
let opened = null;

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
    cursor = null;
    find("pairs").replaceChildren();
    find("found").textContent = "Looking.";
  }
  const until = Date.now() + LOOK_MS;
  let [lookedAt, added] = [0, 0];
  find("more").hidden = true;
  try {
    do {
      const { answer } = await ask(`/api/v1/keys?${query()}`);
      if (mine !== asked) {
        return;
      }
      // As text: a cursor may be beyond the numbers that are exact here.
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

function row(pair) {
  const link = make("button", { class: "link", type: "button" }, pair.key === "" ? "(the empty key)" : pair.key);
  link.addEventListener("click", () => edit(pair.key));
  const value = pair.encoding === "base64" ? `base64 ${pair.value}` : pair.value;
  return make("tr", {},
    make("td", {}, link),
    make("td", { class: "value" }, pair.is_whole ? value : `${value}…`),
    make("td", { class: "number" }, bytes(pair.bytes)),
    make("td", { class: "nowrap" }, pair.expires_at === null ? "" : new Date(pair.expires_at).toLocaleString()));
}

const path = (key) => `/api/v1/keys/${encodeURIComponent(key)}`;

async function edit(key) {
  fields.key.value = key;
  fields.key.readOnly = true;
  fields.delete.hidden = false;
  find("editor-title").textContent = "Pair";
  try {
    const { answer, etag } = await ask(path(key));
    const isText = typeof answer.value === "string";
    opened = { etag, isText };
    fields.value.value = isText ? answer.value : answer.value.$base64;
    fields.value.readOnly = !isText;
    const left = answer.expires_at === null ? "" : Math.max(1, Math.round((Date.parse(answer.expires_at) - Date.now()) / 1000));
    fields.expiry.value = left;
    note(isText ? kindOf(answer.value) : "These bytes are no text: shown as base64, and not edited here.");
    editor.showModal();
  } catch (error) {
    find("found").textContent = `${key}: ${error.message}`;
  }
}

function create() {
  opened = null;
  for (const name of ["key", "value", "expiry"]) {
    fields[name].value = "";
  }
  fields.key.readOnly = false;
  fields.value.readOnly = false;
  fields.delete.hidden = true;
  find("editor-title").textContent = "New key";
  note("");
  editor.showModal();
}

function note(text, isBad = false) {
  find("editor-note").textContent = text;
  find("editor-note").classList.toggle("bad", isBad);
}

function kindOf(text) {
  const size = bytes(new TextEncoder().encode(text).length);
  try {
    JSON.parse(text);
    return `${size}, valid JSON`;
  } catch {
    return `${size} of text`;
  }
}

async function save(event) {
  event.preventDefault();
  const seconds = fields.expiry.value === "" ? null : Number(fields.expiry.value);
  const headers = { "Content-Type": "application/json" };
  headers[opened === null ? "If-None-Match" : "If-Match"] = opened?.etag ?? "*";
  const expiry = seconds === null ? { expires_at: null } : { expires_in_ms: seconds * 1000 };
  const isValue = opened === null || opened.isText;
  const body = isValue ? { value: fields.value.value, ...(seconds === null ? {} : expiry) } : expiry;
  try {
    await ask(path(fields.key.value), { method: isValue ? "PUT" : "PATCH", headers, body: JSON.stringify(body) });
    editor.close();
    load(true);
  } catch (error) {
    const changed = opened === null ? "there is such a key already" : "somebody has changed it meanwhile: close, and open it again";
    note(error.status === 412 ? `Not saved: ${changed}.` : `Not saved: ${error.message}.`, true);
  }
}

async function remove() {
  if (!confirm(`Delete ${JSON.stringify(fields.key.value)}?`)) {
    return;
  }
  try {
    await ask(path(fields.key.value), { method: "DELETE", headers: { "If-Match": opened.etag } });
    editor.close();
    load(true);
  } catch (error) {
    const reason = error.status === 412 ? "somebody has changed it meanwhile: close, and open it again" : error.message;
    note(`Not deleted: ${reason}.`, true);
  }
}

export function open(parameters) {
  if (parameters.has("prefix")) {
    search.elements.prefix.value = parameters.get("prefix");
    search.elements.search.value = "";
  }
  load(true);
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  load(true);
});
find("more").addEventListener("click", () => load(false));
find("create").addEventListener("click", create);
editor.querySelector("form").addEventListener("submit", save);
fields.close.addEventListener("click", () => editor.close());
fields.delete.addEventListener("click", remove);
fields.value.addEventListener("input", () => note(kindOf(fields.value.value)));
fields.copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(fields.value.value);
  note("Copied.");
});
fields.format.addEventListener("click", () => {
  try {
    fields.value.value = JSON.stringify(JSON.parse(fields.value.value), null, 2);
    note(kindOf(fields.value.value));
  } catch (error) {
    note(`This is no JSON: ${error.message}.`, true);
  }
});
