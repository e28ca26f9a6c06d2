// Questions before something is lost: one dialog for the whole page.
//
// In: what would be lost. Out: whether the answer is yes. Promise: whoever dismisses a question, in whatever way, has said no.

import { ask, count, counted, find, shown } from "./page.js";

const dialog = find("question");
const fields = dialog.querySelector("form").elements;

/** Gives the answer to the question that is asked, or was asked last. */
let answer = () => {};

/** Asks; a word, if given, has to be typed. `stay` names the answer that loses nothing. */
export function question(text, action, { word = null, title = "Are you sure?", stay = "Cancel" } = {}) {
  if (dialog.open) {
    return Promise.resolve(false);
  }
  // The event that the dialog has been closed comes later, and may be on its way.
  answer();
  find("question-title").textContent = title;
  find("question-text").textContent = text;
  find("question-word").hidden = word === null;
  find("question-word").querySelector("b").textContent = word ?? "";
  fields.word.value = "";
  fields.yes.textContent = action;
  fields.no.textContent = stay;
  const check = () => {
    fields.yes.disabled = word !== null && fields.word.value !== word;
  };
  fields.word.oninput = check;
  check();
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    answer = () => resolve(dialog.returnValue === "yes");
  });
}

dialog.addEventListener("close", () => {
  if (!dialog.open) {
    answer();
  }
});

/** Returns how many keys there are with a prefix; null if the user may not count them. */
export async function countOf(prefix) {
  try {
    // Unlike URLSearchParams, it refuses half of a surrogate pair, which the server would read as another prefix.
    return (await ask(`/api/v1/count?prefix=${encodeURIComponent(prefix)}`)).answer.keys;
  } catch (error) {
    if (error.status === 403) {
      return null;
    }
    throw error;
  }
}

const LOST = "They cannot be brought back.";

/** Asks whether every key may be deleted; nothing to delete needs no question. */
export async function mayDeleteAll(action) {
  const keys = await countOf("");
  const text = keys === null ? "Delete every key?" : `Delete every key? There ${keys === 1 ? "is 1" : `are ${count(keys)}`}.`;
  return keys === 0 || question(`${text} ${LOST}`, action, { word: "CLEAR" });
}

/** Asks whether all keys with a prefix may be deleted; returns their number too, or null. `remark` follows the number. */
export async function mayDeletePrefix(prefix, remark = "") {
  const keys = await countOf(prefix);
  const what = keys === null ? "every key that begins" : `${counted(keys, "key")} that ${keys === 1 ? "begins" : "begin"}`;
  const text = `Delete ${what} with ${shown(prefix)}? ${LOST}${remark}`;
  return { keys, may: keys === 0 || await question(text, keys === null ? "Delete" : `Delete ${count(keys)}`) };
}

/** Asks whether these keys may be deleted. */
export function mayDelete(keys) {
  return question(`Delete ${counted(keys.length, "key")}: ${named(keys)}? ${LOST}`, `Delete ${count(keys.length)}`);
}

/** Names shown in a question. */
const NAMED = 5;

/** Names the first of a list, and counts the others. */
export function named(texts) {
  const others = texts.length - NAMED;
  return `${texts.slice(0, NAMED).map((text) => shown(text)).join(", ")}${others > 0 ? ` and ${count(others)} more` : ""}`;
}

fields.no.addEventListener("click", () => dialog.close("no"));
