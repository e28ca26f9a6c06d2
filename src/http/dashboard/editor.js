// One pair in a dialog: its value as text, JSON or base64, and its expiry. Saved only if unchanged on the server (If-Match).

import * as json from "./json.js";
import { bytes as size, find, question } from "./page.js";
import * as pairs from "./pairs.js";

/** The longest value that is edited in a browser. */
const EDITED_BYTES_MAX = 1 << 20;

const dialog = find("editor");
const form = dialog.querySelector("form");
const fields = form.elements;
/** The open pair; null for a new one. */
let opened = null;
/** The current view of the value. */
let view = "text";
/** Called after a change. */
let changed = () => {};

const VIEWS = {
  text: {
    show(bytes) {
      const text = pairs.textOf(bytes);
      // A textarea normalizes every line ending to a line feed.
      return text?.includes("\r") ? null : text;
    },
    read: (text) => pairs.bytesOf(text),
    missing: "These bytes are no text, or have line endings that a browser would change.",
  },
  json: {
    show(bytes) {
      const text = pairs.textOf(bytes);
      return text === null || json.fault(text) !== null ? null : json.pretty(text);
    },
    read(text) {
      const fault = json.fault(text);
      if (fault !== null) {
        throw new Error(`this is no JSON: ${fault}`);
      }
      const before = opened === null ? null : pairs.textOf(opened.bytes);
      if (before === null || before === "") {
        return pairs.bytesOf(text);
      }
      const compact = json.compact(text);
      // Nothing but the layout has changed: it stays as it is stored.
      if (compact === json.compact(before)) {
        return opened.bytes;
      }
      return pairs.bytesOf(before.includes("\n") ? text : compact);
    },
    missing: "This is not valid JSON.",
  },
  base64: {
    show: (bytes) => pairs.toBase64(bytes),
    read(text) {
      try {
        return pairs.fromBase64(text);
      } catch {
        throw new Error("this is not valid base64");
      }
    },
  },
};

function note(text, isBad = false) {
  find("editor-note").textContent = text;
  find("editor-note").classList.toggle("bad", isBad);
}

const isSame = (some, others) => some.length === others.length && some.every((byte, at) => byte === others[at]);

function show(bytes, wanted) {
  const text = VIEWS[wanted].show(bytes);
  if (text === null) {
    note(VIEWS[wanted].missing, true);
  } else {
    view = wanted;
    fields.value.value = text;
    describe();
  }
  fields.view.value = view;
}

/** Shows size and kind of the value, or what is wrong with it. */
function describe() {
  try {
    const bytes = VIEWS[view].read(fields.value.value);
    const text = pairs.textOf(bytes);
    const kind = text === null ? "binary" : json.fault(text) === null ? "valid JSON" : "text";
    note(`${size(bytes.length)}, ${kind}`);
  } catch (error) {
    note(`Invalid: ${error.message}.`, true);
  }
}

function prepare(title, key) {
  find("editor-title").textContent = title;
  fields.key.value = key;
  fields.key.readOnly = opened !== null;
  fields.delete.hidden = opened === null;
  const left = opened?.expiresAt ? Math.max(1, Math.round((opened.expiresAt - Date.now()) / 1000)) : "";
  fields.expiry.value = left;
  if (opened !== null) {
    opened.expiry = fields.expiry.value;
  }
  const isLong = opened?.isLong ?? false;
  fields.value.readOnly = isLong;
  fields.view.disabled = isLong;
  dialog.showModal();
}

export function create(then) {
  [opened, changed] = [null, then];
  show(new Uint8Array(), "text");
  prepare("New key", "");
}

/** Opens a pair of the list; throws if it cannot be read. */
export async function edit(shown, then) {
  changed = then;
  const isLong = shown.bytes > EDITED_BYTES_MAX;
  if (isLong) {
    const etag = await pairs.etagOf(shown.key);
    opened = { isLong, etag, expiresAt: shown.expires_at === null ? null : new Date(shown.expires_at) };
    [view, fields.view.value, fields.value.value] = ["text", "text", `${shown.value}…`];
    note(`${size(shown.bytes)}: too long to be edited here. Only the beginning is shown.`);
  } else {
    opened = await pairs.read(shown.key);
    const text = VIEWS.text.show(opened.bytes);
    show(opened.bytes, text === null ? "base64" : json.isNested(text) ? "json" : "text");
  }
  // The field may show another one: it has one line.
  opened.key = shown.key;
  prepare("Pair", shown.key);
}

async function save(event) {
  event.preventDefault();
  const seconds = fields.expiry.value;
  const expiry = seconds === "" ? { expires_at: null } : { expires_in_ms: Number(seconds) * 1000 };
  try {
    if (opened === null) {
      await pairs.write(fields.key.value, VIEWS[view].read(fields.value.value), expiry, { "If-None-Match": "*" });
    } else {
      await saveOpened(expiry, seconds !== opened.expiry);
    }
    dialog.close();
    changed();
  } catch (error) {
    const reason = opened === null ? "there is such a key already" : "somebody has changed it meanwhile: close and reopen it";
    note(`Not saved: ${error.status === 412 ? reason : error.message}.`, true);
  }
}

async function saveOpened(expiry, hasNewExpiry) {
  const [key, conditions] = [opened.key, { "If-Match": opened.etag }];
  const bytes = opened.isLong ? null : VIEWS[view].read(fields.value.value);
  if (bytes !== null && !isSame(bytes, opened.bytes)) {
    await pairs.write(key, bytes, hasNewExpiry ? expiry : { keep_expiry: true }, conditions);
  } else if (hasNewExpiry) {
    await pairs.setExpiry(key, expiry, conditions);
  }
}

async function remove() {
  if (!await question(`Delete ${JSON.stringify(opened.key)}?`, "Delete")) {
    return;
  }
  try {
    await pairs.remove(opened.key, { "If-Match": opened.etag });
    dialog.close();
    changed();
  } catch (error) {
    const reason = error.status === 412 ? "somebody has changed it meanwhile: close and reopen it" : error.message;
    note(`Not deleted: ${reason}.`, true);
  }
}

form.addEventListener("submit", save);
fields.close.addEventListener("click", () => dialog.close());
fields.delete.addEventListener("click", remove);
fields.value.addEventListener("input", describe);
fields.view.addEventListener("change", () => {
  try {
    show(VIEWS[view].read(fields.value.value), fields.view.value);
  } catch (error) {
    fields.view.value = view;
    note(`Invalid: ${error.message}.`, true);
  }
});
fields.copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(fields.value.value);
    note("Copied.");
  } catch {
    // Browsers offer no clipboard to pages served without TLS from another machine.
    fields.value.select();
    note("The browser denies access to the clipboard: the value is selected, press Ctrl+C.");
  }
});
