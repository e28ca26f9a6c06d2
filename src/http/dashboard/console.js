// The console: the line protocol over a WebSocket, with completion and hints. What destroys is asked about, and what is long can be stopped.

import { maySend } from "./danger.js";
import { Exchange, toEnd } from "./log.js";
import { ask, find } from "./page.js";
import { Lines, Reply } from "./replies.js";

const KEYS_OFFERED = 12;

const line = find("prompt").elements.line;
const hint = find("hint");
const history = [];
let place = 0;
let commands = null;
let socket = null;
/** Requests whose replies have not ended, the oldest first: their exchanges and replies. */
let pending = [];
/** The latest exchange: what comes by itself is added to it. */
let latest = null;
/** The request that made the connection a receiver, if one did. */
let received = null;

const isRunning = () => pending.length > 0 || received !== null;

/** Shows what goes on, and how to stop it. */
function showState() {
  const [first] = pending;
  const running = first === undefined ? received?.text : `${first.text}: ${first.exchange.soFar} so far`;
  find("stop").hidden = !isRunning();
  find("running").textContent = isRunning() ? `Running: ${running}` : "";
}

function take(answer) {
  if (answer.isEvent) {
    if (!latest.isOfEvents && latest !== received?.exchange) {
      latest = new Exchange(`> ${received?.text ?? "what comes by itself"} (goes on)`);
    }
    latest.addEvent(answer);
    return;
  }
  const [first] = pending;
  if (first === undefined) {
    latest.add(answer, true);
    return;
  }
  const isLast = first.reply.take(answer);
  first.exchange.add(answer, isLast);
  if (isLast) {
    pending.shift();
    if (first.receives && answer.word !== "ERR") {
      received = first;
    } else if (["UNFOLLOWED", "UNSUBSCRIBED", "PUNSUBSCRIBED"].includes(answer.word) || /^reset$/i.test(first.text)) {
      received = null;
    }
  }
}

/** Returns an open connection. */
function connected() {
  if (socket?.readyState === WebSocket.OPEN) {
    return Promise.resolve(socket);
  }
  return new Promise((resolve, reject) => {
    const opening = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/console`);
    const lines = new Lines(take);
    opening.binaryType = "arraybuffer";
    opening.addEventListener("open", () => {
      socket = opening;
      resolve(opening);
    });
    opening.addEventListener("message", (event) => {
      // What is still on its way when a reply is stopped is not shown.
      if (socket === opening) {
        lines.push(new Uint8Array(event.data));
      }
    });
    opening.addEventListener("error", () => reject(new Error("The server cannot be reached.")));
    opening.addEventListener("close", () => {
      if (socket === opening) {
        end("The connection has ended; the next line opens another one.");
      }
    });
  });
}

/** Ends the connection and whatever runs on it. */
function end(reason) {
  socket?.close();
  [socket, pending, received] = [null, [], null];
  latest?.say(reason, "note");
  showState();
}

function stop() {
  // Not by what is shown, which may be older: a connection with a transaction would be closed for nothing.
  if (isRunning()) {
    end("Stopped: the connection has been closed, and with it a transaction; the next line opens another one.");
    line.focus();
  }
}

/** Reads the table of commands, once. */
async function table() {
  commands ??= (await ask("/api/v1/commands")).answer;
  return commands;
}

/** The sending of the lines before: one that is asked about is not overtaken. */
let sent = Promise.resolve();

function submit(event) {
  event.preventDefault();
  const text = line.value.trim();
  if (text === "") {
    return;
  }
  line.value = "";
  hint.textContent = "";
  history.push(text);
  place = history.length;
  sent = sent.then(() => send(text));
}

/** Gives a line back that was not sent, unless another one has been begun. */
function giveBack(text) {
  if (line.value === "") {
    line.value = text;
  }
}

async function send(text) {
  const verb = text.split(/[ \t]/, 1)[0].toUpperCase();
  try {
    if (!await maySend(text, await table())) {
      giveBack(text);
      hint.textContent = "Not sent.";
      return;
    }
    const open = await connected();
    const command = commands.find(({ name }) => name === verb);
    const canNarrow = command?.usage.startsWith("[<prefix>]") ?? false;
    latest = new Exchange(`> ${text}`, canNarrow ? `; narrow it down by a longer prefix: ${verb} <prefix>` : "");
    toEnd();
    const asked = { text, exchange: latest, reply: new Reply(), receives: command?.receives ?? false };
    pending.push(asked);
    open.send(`${text}\n`);
  } catch (error) {
    giveBack(text);
    new Exchange(`> ${text}`).say(`Not sent: ${error.message}`, "bad");
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
  try {
    await table();
  } catch (error) {
    hint.textContent = error.message;
  }
}

find("prompt").addEventListener("submit", submit);
find("stop").addEventListener("click", stop);
// Often enough for a person; what has come by then is counted, not drawn.
setInterval(() => {
  if (isRunning() || !find("stop").hidden) {
    showState();
  }
}, 200);
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
  } else if (event.key === "Escape" || (event.key === "c" && event.ctrlKey && line.selectionStart === line.selectionEnd)) {
    stop();
  }
});
