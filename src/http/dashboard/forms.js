// Three forms for three requests: get, put, delete. What is stored under a key is not lost without a question.

import * as guarded from "./guarded.js";
import { bytes as size, find, shown as quoted } from "./page.js";
import * as pairs from "./pairs.js";
import { protect } from "./work.js";

/** The longest text that is shown whole. */
const SHOWN_CHARACTERS_MAX = 100_000;

/** Runs an action when a form is submitted, and shows its outcome. */
function on(id, act) {
  const form = find(id);
  const note = form.querySelector(".note");
  const tell = (text, isBad = false) => {
    note.textContent = text;
    note.classList.toggle("bad", isBad);
  };
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    // Sent twice, it would ask about itself.
    button.disabled = true;
    tell("");
    try {
      tell(await act(form.elements, form));
    } catch (error) {
      tell(error.status === 404 ? `There is no key ${quoted(form.elements.key.value)}.` : error.message, true);
    } finally {
      button.disabled = false;
    }
  });
}

export function open() {}

on("get", async ({ key }, form) => {
  const shown = form.querySelector("pre");
  shown.hidden = true;
  const { bytes, expiresAt } = await pairs.read(key.value);
  const text = pairs.textOf(bytes);
  const whole = text ?? pairs.toBase64(bytes);
  shown.textContent = whole.length > SHOWN_CHARACTERS_MAX ? `${whole.slice(0, SHOWN_CHARACTERS_MAX)}…` : whole;
  shown.hidden = false;
  const expiry = expiresAt === null ? "" : `, expires ${expiresAt.toLocaleString()}`;
  return `${size(bytes.length)}${text === null ? ", shown as base64" : ""}${expiry}`;
});

/** The text of the form as it was stored last. */
let put = "";

on("put", async ({ key, value, expiry }) => {
  const until = expiry.value === "" ? {} : { expires_in_ms: Number(expiry.value) * 1000 };
  const text = value.value;
  const replaced = await guarded.put(key.value, pairs.bytesOf(text), until);
  if (replaced === undefined) {
    return "Nothing was stored.";
  }
  put = text;
  return `Stored ${quoted(key.value)}. ${replaced === null ? "It is a new key." : `It had ${guarded.described(replaced)}.`}`;
});

protect(() => {
  const text = find("put").elements.value.value;
  return text === "" || text === put ? null : "the value under Forms, Put";
});

on("delete", async ({ key }) =>
  (await guarded.remove(key.value) ? `Deleted ${quoted(key.value)}.` : "Nothing was deleted."));
