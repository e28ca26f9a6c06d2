// The log of the console: a request and what came to it, which stays bounded however much comes.
//
// In: lines. Out: the first of a reply, or the latest of what comes by itself, and the number of the others. Promises: the work for a frame
// is bounded, whatever has arrived meanwhile; the request stays in view while its replies are read.

import { bytes as size, count, counted, find, make } from "./page.js";

/** Lines of a reply that are shown, and bytes of them: what is longer is not read by people, and freezes a browser. */
const LINES_MAX = 500;
const BYTES_MAX = 200_000;
/** Exchanges that are kept. */
const EXCHANGES_MAX = 100;
/** Lines of all exchanges that are kept, unless the last one alone has more. */
const LINES_KEPT = 2000;

const log = find("log");
/** Exchanges with something to be drawn. */
const waiting = new Set();

function draw() {
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  for (const exchange of waiting) {
    exchange.draw();
  }
  waiting.clear();
  let lines = log.querySelectorAll("div").length;
  while (log.children.length > 1 && (lines > LINES_KEPT || log.children.length > EXCHANGES_MAX)) {
    lines -= log.firstElementChild.children.length;
    log.firstElementChild.remove();
  }
  if (isAtEnd) {
    toEnd();
  }
}

export function toEnd() {
  log.scrollTop = log.scrollHeight;
}

/** A request and what came to it. */
export class Exchange {
  /** `narrower` says how to ask for less. */
  constructor(title, narrower = "") {
    this.narrower = narrower;
    /** Number of lines that have come. */
    this.lines = 0;
    this.shown = 0;
    this.shownBytes = 0;
    this.added = [];
    /** The last line of a reply, which has its number of lines. */
    this.last = null;
    this.element = make("section", {}, make("div", { class: "asked" }, title));
    this.note = make("div", { class: "note" });
    log.append(this.element);
  }

  wait() {
    if (waiting.size === 0) {
      requestAnimationFrame(draw);
    }
    waiting.add(this);
  }

  /** Adds a line of a reply: the first ones are shown. */
  add(line, isLast) {
    this.lines += 1;
    if (this.shown + this.added.length < LINES_MAX && this.shownBytes < BYTES_MAX) {
      this.shownBytes += line.bytes.length;
      this.added.push(line);
    } else if (isLast) {
      this.last = line;
    }
    this.wait();
  }

  /** Adds what came by itself: the latest is shown. */
  addEvent(line) {
    this.lines += 1;
    this.added.push(line);
    if (this.added.length > LINES_MAX) {
      this.added.shift();
    }
    this.isOfEvents = true;
    this.wait();
  }

  /** Adds a remark of the page's. */
  say(text, style) {
    this.draw();
    this.element.append(make("div", { class: style }, text));
    this.wait();
  }

  draw() {
    const lines = this.added.splice(0).map(row);
    if (this.isOfEvents) {
      this.element.append(...lines);
      const rows = this.element.querySelectorAll(":scope > .answer");
      for (const old of [...rows].slice(0, Math.max(0, rows.length - LINES_MAX))) {
        old.remove();
      }
      this.noteRest(this.lines - Math.min(rows.length, LINES_MAX), "earlier");
    } else {
      this.shown += lines.length;
      this.note.before(...lines);
      if (!this.note.isConnected) {
        this.element.append(...lines);
      }
      this.noteRest(this.lines - this.shown - (this.last === null ? 0 : 1), "more");
      if (this.last !== null) {
        this.element.append(row(this.last));
        this.last = null;
        this.shown += 1;
      }
    }
  }

  noteRest(rest, which) {
    if (rest > 0) {
      this.note.textContent = `${count(rest)} ${which} ${rest === 1 ? "line is" : "lines are"} not shown${this.narrower}.`;
      if (!this.note.isConnected) {
        if (which === "earlier") {
          this.element.querySelector(".answer").before(this.note);
        } else {
          this.element.append(this.note);
        }
      }
    }
  }

  /** What has come so far, for a status. */
  get soFar() {
    return counted(this.lines, "line");
  }
}

function row(line) {
  const { shown, left } = line.text;
  const rest = left > 0 ? [make("em", {}, `… and ${size(left)} more, not shown`)] : [];
  return make("div", { class: shown.startsWith("ERR ") ? "bad answer" : "answer" }, shown, ...rest);
}
