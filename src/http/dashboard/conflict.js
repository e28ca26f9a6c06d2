// Two versions of a pair: that of an editor, and what the server has now.
//
// In: the pair on the server, null if it is gone. Out: what the person does with the two. Promise: both are seen until then.

import { find } from "./page.js";
import { described } from "./guarded.js";
import * as pairs from "./pairs.js";

/** Characters of the other version that are shown. */
const SHOWN_CHARACTERS_MAX = 10_000;

const panel = find("conflict");
const button = (name) => panel.querySelector(`button[name=${name}]`);

export function hide() {
  panel.hidden = true;
  find("value-label").textContent = "Value";
}

/** Shows the version of the server. `title` says what has happened; `overwrite` names what is done with it, `reload` with this one. */
export function show(theirs, { title, overwrite, reload }, acts) {
  panel.hidden = false;
  find("value-label").textContent = "Value, yours";
  find("conflict-title").textContent = title;
  find("conflict-text").textContent = theirs === null ? "There is no such key now." : `It has ${described(theirs)} now.`;
  find("theirs").parentElement.hidden = theirs === null;
  const text = theirs === null ? "" : pairs.textOf(theirs.bytes) ?? pairs.toBase64(theirs.bytes);
  find("theirs").value = text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text;
  button("overwrite").hidden = overwrite === null;
  button("overwrite").textContent = overwrite ?? "";
  button("reload").textContent = reload;
  for (const [name, act] of Object.entries(acts)) {
    button(name).onclick = act;
  }
  button("copy-mine").focus();
  panel.scrollIntoView({ block: "nearest" });
}
