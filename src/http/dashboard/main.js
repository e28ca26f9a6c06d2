// Screens, theme, and the connection to the live feed.

import { ask, clock, duration, find } from "./page.js";
import * as editor from "./editor.js";
import * as overview from "./overview.js";
import * as explorer from "./explorer.js";
import * as forms from "./forms.js";
import * as terminal from "./console.js";
import * as data from "./data.js";
import * as session from "./session.js";

const SCREENS = { overview, explorer, forms, console: terminal, data };
/** The time without figures, which come every second, at which they are said to be old. */
const OLD_MS = 3500;

/** The screen that is shown, as in the address. */
let shownHash = location.hash;
/** When the latest figures came, and whether the connection that brings them is open. */
let figuresAt = null;
let isConnected = false;

/** Follows the address, unless the person stays with an edit. */
async function follow() {
  if (await editor.leave()) {
    show();
  } else {
    history.pushState(null, "", shownHash === "" ? "#overview" : shownHash);
  }
}

function show() {
  shownHash = location.hash;
  const [name, parameters] = location.hash.slice(1).split("?");
  const shown = name in SCREENS ? name : "overview";
  const wasHidden = find(shown).hidden;
  for (const screen of Object.keys(SCREENS)) {
    find(screen).hidden = screen !== shown;
    const link = document.querySelector(`nav a[href="#${screen}"]`);
    if (screen === shown) {
      document.title = `${link.textContent} - PyKV`;
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
  SCREENS[shown].open(new URLSearchParams(parameters), wasHidden);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  find("theme").value = theme;
}

function say(text, style) {
  const state = find("connection");
  // A screen reader says again what is set again.
  if (state.textContent !== text) {
    state.textContent = text;
    state.className = style;
  }
}

function connect() {
  const events = new EventSource("/api/v1/live");
  events.addEventListener("open", () => {
    [isConnected, figuresAt] = [true, figuresAt ?? Date.now()];
    say("connected", "on");
  });
  events.addEventListener("error", () => {
    isConnected = false;
    say("not connected; trying again", "off");
    // An EventSource does not reconnect after an HTTP error.
    if (events.readyState === EventSource.CLOSED) {
      reconnect();
    }
  });
  events.addEventListener("figures", (event) => {
    figuresAt = Date.now();
    overview.showFigures(JSON.parse(event.data));
  });
  events.addEventListener("operations", (event) => overview.showOperations(JSON.parse(event.data)));
  events.addEventListener("skipped", (event) => overview.showSkipped(Number(event.data)));
}

/** Says so if what is shown is old: the connection has ended, or nothing comes. */
function showStaleness() {
  const age = figuresAt === null ? 0 : Date.now() - figuresAt;
  const isOld = figuresAt !== null && (!isConnected || age > OLD_MS);
  document.documentElement.classList.toggle("stale", isOld);
  find("stale").hidden = !isOld;
  if (isConnected) {
    say(isOld ? "no answer" : "connected", isOld ? "off" : "on");
  }
  if (isOld) {
    find("stale-since").textContent = clock(figuresAt);
    find("stale-age").textContent = duration(age / 1000);
    overview.showNoFigures();
  }
}

/** Connects again later, unless the user may not see the figures. */
async function reconnect() {
  try {
    await ask("/api/v1/stats");
  } catch (error) {
    if (error.status === 403) {
      figuresAt = null;
      say("figures are not permitted", "on");
      return;
    }
  }
  setTimeout(connect, 2000);
}

/** Begins once the user is known; a server that cannot be reached is asked again. */
async function begin() {
  try {
    if (!(await session.begin())) {
      return;
    }
  } catch (error) {
    say(error.message, "off");
    setTimeout(begin, 2000);
    return;
  }
  show();
  connect();
}

find("theme").addEventListener("change", (event) => {
  localStorage.setItem("theme", event.target.value);
  setTheme(event.target.value);
});
setTheme(localStorage.getItem("theme") ?? "system");
addEventListener("hashchange", follow);
setInterval(showStaleness, 1000);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.target.closest("input, textarea, select, dialog")) {
    event.preventDefault();
    location.hash = "#explorer";
    find("search").elements.search.focus();
  }
});
addEventListener("signed-out", session.signIn);
// The same person again: the page and what is unsaved in it stay.
addEventListener("signed-in", show);
begin();
