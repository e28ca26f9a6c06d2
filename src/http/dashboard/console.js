// The console: the line protocol over a WebSocket, with completion and hints.

import { ask, find, make } from "./page.js";

const LINES_KEPT = 1000;
const KEYS_OFFERED = 12;

const log = find("log");
const line = find("prompt").elements.line;
const hint = find("hint");
const history = [];
let place = 0;
let commands = null;
let socket = null;
/** The beginning of a line that has not arrived whole. */
let rest = "";

function show(text, style) {
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(make("div", { class: style }, text));
  while (log.children.length > LINES_KEPT) {
    log.firstElementChild.remove();
  }
  if (isAtEnd) {
    log.scrollTop = log.scrollHeight;
  }
}

function showAnswer(text) {
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  for (const answer of lines) {
    show(answer, answer.startsWith("ERR ") ? "bad" : "answer");
  }
}

/** Returns an open connection. */
function connected() {
  if (socket?.readyState === WebSocket.OPEN) {
    return Promise.resolve(socket);
  }
  return new Promise((resolve, reject) => {
    const decoder = new TextDecoder();
    const opening = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/console`);
    opening.binaryType = "arraybuffer";
    opening.addEventListener("open", () => {
      [socket, rest] = [opening, ""];
      resolve(opening);
    });
    opening.addEventListener("message", (event) => showAnswer(decoder.decode(event.data, { stream: true })));
    opening.addEventListener("error", () => reject(new Error("the server cannot be reached")));
    opening.addEventListener("close", () => {
      if (socket === opening) {
        socket = null;
        show("The connection has ended; the next line opens another one.", "note");
      }
    });
  });
}

async function send(event) {
  event.preventDefault();
  const text = line.value.trim();
  if (text === "") {
    return;
  }
  line.value = "";
  hint.textContent = "";
  history.push(text);
  place = history.length;
  show(`> ${text}`, "asked");
  log.scrollTop = log.scrollHeight;
  try {
    (await connected()).send(`${text}\n`);
  } catch (error) {
    show(`Not sent: ${error.message}.`, "bad");
  }
}

const synopsis = ({ name, usage }) => (usage === "" ? name : `${name} ${usage}`);

const beginning = (word) => commands?.filter(({ name }) => name.startsWith(word.toUpperCase())) ?? [];

function showHint() {
  const [verb, ...others] = line.value.trimStart().split(/\s+/);
  const found = beginning(verb);
  const exact = found.find(({ name }) => name === verb.toUpperCase());
  if (verb === "" || commands === null) {
    hint.textContent = "";
  } else if (exact !== undefined && (others.length > 0 || found.length === 1)) {
    hint.textContent = `${synopsis(exact)}: ${exact.summary}`;
  } else if (others.length > 0 || found.length === 0) {
    hint.textContent = `There is no command ${verb}; HELP lists them.`;
  } else {
    hint.textContent = found.map(({ name }) => name).join("  ");
  }
  hint.classList.toggle("bad", hint.textContent.startsWith("There is no"));
}

/** Returns the longest common prefix. */
function common(texts) {
  let [shortest] = texts;
  for (const text of texts) {
    while (!text.startsWith(shortest)) {
      shortest = [...shortest].slice(0, -1).join("");
    }
  }
  return shortest;
}

/** Quotes a key for a line, where it needs quotes. */
const word = (key) => (/^[^\s"\\]+$/.test(key) ? key : JSON.stringify(key));

async function complete() {
  const [, before, begun] = /^(.*?\s)?(\S*)$/s.exec(line.value.trimStart());
  let offered;
  if (before === undefined) {
    offered = beginning(begun).map(({ name }) => name);
  } else {
    const { answer } = await ask(`/api/v1/keys?${new URLSearchParams({ prefix: begun.replace(/^"/, ""), limit: KEYS_OFFERED })}`);
    offered = answer.keys.map(({ key }) => word(key)).sort();
  }
  if (offered.length === 0) {
    return;
  }
  const completed = common(offered);
  if (before === undefined || completed.length > begun.length) {
    line.value = `${before ?? ""}${completed}${offered.length === 1 ? " " : ""}`;
  }
  if (offered.length === 1) {
    showHint();
  } else {
    hint.textContent = offered.slice(0, KEYS_OFFERED).join("  ");
  }
}

function recall(step) {
  place = Math.min(Math.max(place + step, 0), history.length);
  line.value = history[place] ?? "";
  showHint();
}

export async function open() {
  line.focus();
  if (commands === null) {
    try {
      commands = (await ask("/api/v1/commands")).answer;
    } catch (error) {
      hint.textContent = error.message;
    }
  }
}

find("prompt").addEventListener("submit", send);
line.addEventListener("input", showHint);
line.addEventListener("keydown", (event) => {
  // On an empty line Tab moves the focus, so that the field is no keyboard trap.
  if (event.key === "Tab" && !event.shiftKey && line.value.trim() !== "") {
    event.preventDefault();
    complete().catch((error) => {
      hint.textContent = error.message;
    });
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    event.preventDefault();
    recall(event.key === "ArrowUp" ? -1 : 1);
  }
});
