// Three forms for three requests: get, put, delete.

import { bytes as size, find } from "./page.js";
import * as pairs from "./pairs.js";

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
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    tell("");
    try {
      tell(await act(form.elements, form));
    } catch (error) {
      tell(error.status === 404 ? `There is no key ${JSON.stringify(form.elements.key.value)}.` : error.message, true);
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

on("put", async ({ key, value, expiry }) => {
  const until = expiry.value === "" ? {} : { expires_in_ms: Number(expiry.value) * 1000 };
  await pairs.write(key.value, pairs.bytesOf(value.value), until, {});
  return `Stored ${JSON.stringify(key.value)}.`;
});

on("delete", async ({ key }) => {
  await pairs.remove(key.value, {});
  return `Deleted ${JSON.stringify(key.value)}.`;
});
