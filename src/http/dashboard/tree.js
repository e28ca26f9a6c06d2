// The tree of namespaces: key prefixes up to each colon. A branch is loaded when it is opened.

import { ask, count, find, make } from "./page.js";

/** Namespaces shown of a branch, largest first. */
const SHOWN = 100;

const opened = new Set();

/** Redraws the tree; open branches stay open. */
export async function show() {
  find("tree").replaceChildren(...await branch(""));
}

async function branch(prefix) {
  try {
    const { answer } = await ask(`/api/v1/namespaces?${new URLSearchParams({ prefix, limit: SHOWN })}`);
    const items = await Promise.all(answer.namespaces.map((namespace) => item(namespace, prefix)));
    const rest = answer.namespaces_total - answer.namespaces.length;
    if (rest > 0) {
      items.push(make("li", { class: "note" }, `and ${count(rest)} smaller ones`));
    }
    if (items.length === 0) {
      items.push(make("li", { class: "note" }, prefix === "" ? "No key has a colon: there are no namespaces." : "no further namespaces"));
    }
    return items;
  } catch (error) {
    return [make("li", { class: "note bad" }, error.message)];
  }
}

async function item({ name, keys }, above) {
  const label = name.slice(above.length);
  const link = make("a", { href: `#explorer?prefix=${encodeURIComponent(name)}` }, label, " ", make("span", { class: "note" }, count(keys)));
  const toggle = make("button", { type: "button", class: "toggle", "aria-expanded": "false", "aria-label": `Namespaces below ${name}` }, "▸");
  const below = make("ul", { hidden: "" });
  const row = make("li", {}, toggle, link, below);
  const open = async () => {
    opened.add(name);
    below.replaceChildren(...await branch(name));
    below.hidden = false;
    toggle.setAttribute("aria-expanded", "true");
    toggle.textContent = "▾";
  };
  toggle.addEventListener("click", () => {
    if (below.hidden) {
      open();
      return;
    }
    opened.delete(name);
    below.hidden = true;
    toggle.setAttribute("aria-expanded", "false");
    toggle.textContent = "▸";
  });
  if (opened.has(name)) {
    await open();
  }
  return row;
}
