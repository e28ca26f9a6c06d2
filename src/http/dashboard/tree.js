// The tree of namespaces: key prefixes up to each colon. A branch is loaded when it is opened; all are counted again while they are seen.

import { count, find, make } from "./page.js";
import { isOld, namespaces, showAge } from "./namespaces.js";

/** Namespaces shown of a branch, largest first. */
const SHOWN = 100;
const COUNT_EVERY_MS = 10_000;

const opened = new Set();
/** What is shown, as text: the tree is redrawn only if it changes. */
let drawn = "";
/** Time of the oldest count that is shown. */
let countedAt = null;
let turns = 0;

/** Redraws the tree; open branches stay open, and the focus where it is. `isNew`: with every change that was answered before. */
export async function show(isNew = false) {
  turns += 1;
  const turn = turns;
  let oldest = Infinity;
  const counts = async (prefix) => {
    const counted = await namespaces(prefix, SHOWN, isNew);
    oldest = Math.min(oldest, counted.countedAt);
    const below = counted.namespaces.filter(({ name }) => opened.has(name));
    return { ...counted, branches: new Map(await Promise.all(below.map(async ({ name }) => [name, await counts(name)]))) };
  };
  try {
    const root = await counts("");
    if (turn !== turns) {
      return;
    }
    countedAt = oldest;
    redraw(root);
  } catch (error) {
    if (turn === turns) {
      [drawn, countedAt] = ["", null];
      find("tree").replaceChildren(make("li", { class: "note bad" }, error.message));
    }
  }
  showAge(find("tree-age"), countedAt);
}

function redraw(root) {
  const text = JSON.stringify(root, (name, value) => (name === "countedAt" || name === "counted_at" ? undefined : value instanceof Map ? [...value] : value));
  if (text === drawn) {
    return;
  }
  drawn = text;
  const focused = find("tree").contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  find("tree").replaceChildren(...branch("", root));
  if (focused !== undefined) {
    find("tree").querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }
}

function branch(prefix, { namespaces: listed, namespaces_total: total, branches }) {
  const items = listed.map((namespace) => item(namespace, prefix, branches.get(namespace.name)));
  if (total > listed.length) {
    items.push(make("li", { class: "note" }, `and ${count(total - listed.length)} smaller ones`));
  }
  if (items.length === 0) {
    items.push(make("li", { class: "note" }, prefix === "" ? "No key has a colon: there are no namespaces." : "no further namespaces"));
  }
  return items;
}

function item({ name, keys }, above, below) {
  const isOpen = below !== undefined;
  const link = make("a", { href: `#explorer?prefix=${encodeURIComponent(name)}`, "data-focus": `link ${name}` },
    name.slice(above.length), " ", make("span", { class: "note" }, count(keys)));
  const toggle = make("button", {
    type: "button", class: "toggle", "aria-expanded": String(isOpen), "aria-label": `Namespaces below ${name}`, "data-focus": `toggle ${name}`,
  }, isOpen ? "▾" : "▸");
  toggle.addEventListener("click", () => {
    if (!opened.delete(name)) {
      opened.add(name);
    }
    show();
  });
  return make("li", {}, toggle, link, ...(isOpen ? [make("ul", {}, ...branch(name, below))] : []));
}

/** Shows the tree, and counts anew if the server's count is old: nobody may have asked for one in a long time. */
export async function open() {
  await show();
  if (countedAt !== null && isOld(countedAt)) {
    await show(true);
  }
}

setInterval(() => {
  if (!document.hidden && !find("explorer").hidden) {
    show();
  }
}, COUNT_EVERY_MS);
