// One pair in a dialog: its value as text, JSON or base64, and its expiry.
//
// In: a pair, or none for a new one. Out: what has become of it. Promises: it is saved only if unchanged on the server (If-Match), and
// else both versions are shown; an edit that is not saved is never lost without a question.

import * as conflict from "./conflict.js";
import { mayDelete } from "./guarded.js";
import * as json from "./json.js";
import { bytes as size, find, shown as quoted } from "./page.js";
import * as pairs from "./pairs.js";
import { question } from "./question.js";
import { protect } from "./work.js";

/** The longest value that is edited in a browser. */
const EDITED_BYTES_MAX = 1 << 20;

const dialog = find("editor");
const form = dialog.querySelector("form");
const fields = form.elements;
/** True from the opening to a closing that may be. */
let isOpen = false;
/** The open pair; null for a new one. */
let opened = null;
/** The expiry as it was filled in. */
let expiryBefore = "";
/** The current view of the value. */
let view = "text";
/** Called after a change, with the key and what was done. */
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
      const before = opened?.bytes ? pairs.textOf(opened.bytes) : null;
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
  fields.expiry.value = opened?.expiresAt ? Math.max(1, Math.round((opened.expiresAt - Date.now()) / 1000)) : "";
  expiryBefore = fields.expiry.value;
  const isLong = opened?.isLong ?? false;
  fields.value.readOnly = isLong;
  fields.view.disabled = isLong;
  conflict.hide();
  isOpen = true;
  if (!dialog.open) {
    dialog.showModal();
  }
  fields.key.focus();
}

export function create(then) {
  [opened, changed] = [null, then];
  show(new Uint8Array(), "text");
  prepare("New key", "");
}

/** Opens a pair of the list; throws if it cannot be read. */
export async function edit(shown, then) {
  changed = then;
  if (shown.bytes > EDITED_BYTES_MAX) {
    const etag = await pairs.etagOf(shown.key);
    openLong({ key: shown.key, etag, expiresAt: shown.expires_at === null ? null : new Date(shown.expires_at) }, shown.value, shown.bytes);
  } else {
    openPair(shown.key, await pairs.read(shown.key));
  }
}

function openLong(pair, beginning, bytes) {
  opened = { ...pair, isLong: true };
  [view, fields.view.value, fields.value.value] = ["text", "text", `${beginning}…`];
  note(`${size(bytes)}: too long to be edited here. Only the beginning is shown.`);
  prepare("Pair", pair.key);
}

function openPair(key, pair) {
  if (pair.bytes.length > EDITED_BYTES_MAX) {
    openLong({ key, ...pair }, pairs.textOf(pair.bytes.subarray(0, 400), true) ?? "", pair.bytes.length);
    return;
  }
  // The field may show another key: it has one line.
  opened = { key, ...pair };
  const text = VIEWS.text.show(opened.bytes);
  show(opened.bytes, text === null ? "base64" : json.isNested(text) ? "json" : "text");
  prepare("Pair", key);
}

/** Returns whether something has been changed that is not saved. */
function isChanged() {
  if (!isOpen) {
    return false;
  }
  if (fields.expiry.value !== expiryBefore || (opened === null && fields.key.value !== "")) {
    return true;
  }
  try {
    return !(opened?.isLong ?? false) && !isSame(VIEWS[view].read(fields.value.value), opened?.bytes ?? new Uint8Array());
  } catch {
    return true;
  }
}

const nameOf = () => (opened === null ? "the new key" : quoted(opened.key));

/** Closes the editor; asks first if an edit would be lost. Returns whether it is closed. */
export async function leave() {
  const text = `What you have changed of ${nameOf()} is not saved.`;
  if (isChanged() && !await question(text, "Discard", { title: "Discard your edit?", stay: "Keep editing" })) {
    return false;
  }
  close();
  return true;
}

function close() {
  isOpen = false;
  dialog.close();
}

function done(what) {
  const key = opened?.key ?? fields.key.value;
  close();
  changed(key, what);
}

async function save(event) {
  event?.preventDefault();
  // Sent twice, it would be in conflict with itself.
  fields.save.disabled = true;
  const hasNewExpiry = fields.expiry.value !== expiryBefore;
  const expiry = fields.expiry.value === "" ? { expires_at: null } : { expires_in_ms: Number(fields.expiry.value) * 1000 };
  try {
    if (opened === null) {
      await pairs.write(fields.key.value, VIEWS[view].read(fields.value.value), expiry, { "If-None-Match": "*" });
      done("Created");
    } else {
      await saveOpened(expiry, hasNewExpiry);
      done("Saved");
    }
  } catch (error) {
    const reason = opened === null ? "there is such a key already" : "somebody has changed it meanwhile";
    const isConflict = error.status === 412 || (error.status === 404 && opened !== null);
    note(`Not saved: ${isConflict ? reason : error.message}.`, true);
    if (isConflict) {
      await showConflict(reason, "Overwrite with mine", save);
    }
  } finally {
    fields.save.disabled = false;
  }
}

async function saveOpened(expiry, hasNewExpiry) {
  const { key, etag, isLong = false } = opened;
  const conditions = etag === null ? { "If-None-Match": "*" } : { "If-Match": etag };
  const bytes = isLong ? null : VIEWS[view].read(fields.value.value);
  if (etag === null) {
    await pairs.write(key, bytes, expiry, conditions);
  } else if (bytes !== null && !isSame(bytes, opened.bytes)) {
    await pairs.write(key, bytes, hasNewExpiry ? expiry : { keep_expiry: true }, conditions);
  } else if (hasNewExpiry) {
    await pairs.setExpiry(key, expiry, conditions);
  }
}

/** Shows what the server has now beside what is edited, to go on with one of the two. */
async function showConflict(reason, overwrite, again) {
  const key = opened?.key ?? fields.key.value;
  let theirs;
  try {
    theirs = await pairs.find(key);
  } catch (error) {
    note(`${reason}, and what it has now cannot be read: ${error.message}`, true);
    return;
  }
  const isGone = theirs === null;
  const words = {
    title: isGone ? "Somebody has deleted it meanwhile" : `Two versions: ${reason}`,
    // Of a long value, only the beginning is here.
    overwrite: isGone ? (opened.isLong ? null : "Store mine") : overwrite,
    reload: isGone ? "Discard mine" : "Discard mine and reload",
  };
  conflict.show(theirs, words, {
    overwrite() {
      // From now on it is theirs that is edited: it is what a further change would be compared with.
      opened = { isLong: opened?.isLong ?? false, ...(theirs ?? { etag: null, bytes: null, expiresAt: null }), key };
      conflict.hide();
      again();
    },
    reload() {
      if (isGone) {
        done("Already gone:");
      } else {
        openPair(key, theirs);
      }
    },
    "copy-mine": copy,
  });
}

async function remove() {
  if (await mayDelete(opened.key, opened)) {
    await removeAsked();
  }
}

async function removeAsked() {
  try {
    await pairs.remove(opened.key, { "If-Match": opened.etag });
    done("Deleted");
  } catch (error) {
    const reason = "somebody has changed it meanwhile";
    if (error.status === 404) {
      done("Already gone:");
      return;
    }
    note(`Not deleted: ${error.status === 412 ? reason : error.message}.`, true);
    if (error.status === 412) {
      await showConflict(reason, "Delete it all the same", removeAsked);
    }
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText(fields.value.value);
    note("Copied.");
  } catch {
    // Browsers offer no clipboard to pages served without TLS from another machine.
    fields.value.select();
    note("The browser denies access to the clipboard: the value is selected, press Ctrl+C.");
  }
}

form.addEventListener("submit", save);
fields.close.addEventListener("click", leave);
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
fields.copy.addEventListener("click", copy);
dialog.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing) {
    event.preventDefault();
    leave();
  }
});
// The same, by another way than the key.
dialog.addEventListener("cancel", (event) => {
  if (event.cancelable) {
    event.preventDefault();
    leave();
  }
});
dialog.addEventListener("close", () => {
  // A browser closes a dialog when it is asked to for the second time, whatever the page says of the first.
  if (isOpen && !dialog.open) {
    dialog.showModal();
    leave();
  }
});
protect(() => (isChanged() ? `the edit of ${nameOf()}` : null));
