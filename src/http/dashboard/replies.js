// The replies of the console, as they arrive: lines, of which the beginning is kept, and where each reply ends.
//
// In: bytes. Out: lines. Promise: the time for a byte does not grow with what has arrived before, and of a line no more is kept than is shown.

/** Bytes of a line that are kept: a value is better read elsewhere from there on. */
const LINE_BYTES_MAX = 10_000;
/** Lines that do not end a reply. */
const MEMBERS = new Set(["ITEM", "KEY", "STAT", "HELP", "NAMESPACE"]);
/** Lines that come by themselves, between replies. */
const EVENTS = new Set(["CHANGE", "MESSAGE", "PMESSAGE", "MONITOR"]);

const decoder = new TextDecoder();

/** A line, or its beginning. */
class Line {
  constructor(bytes, length) {
    this.bytes = bytes;
    this.length = length;
    const end = bytes.subarray(0, 20).indexOf(0x20);
    this.word = decoder.decode(bytes.subarray(0, end === -1 ? 20 : end));
    this.isEvent = EVENTS.has(this.word);
  }

  get isMember() {
    return MEMBERS.has(this.word);
  }

  /** The number of replies that follow as members of this one. */
  get members() {
    const number = Number(decoder.decode(this.bytes.subarray(this.word.length + 1, 40)));
    return this.word === "ARRAY" ? number : this.word === "MAP" ? 2 * number : 0;
  }

  /** The beginning, and the number of bytes that are not part of it. */
  get text() {
    return { shown: decoder.decode(this.bytes), left: this.length - this.bytes.length };
  }
}

/** Splits bytes into lines, and gives each to `take`. */
export class Lines {
  constructor(take) {
    this.take = take;
    this.begin();
  }

  begin() {
    this.pieces = [];
    this.kept = 0;
    this.length = 0;
  }

  push(bytes) {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(0x0a, start);
      this.keep(bytes.subarray(start, end === -1 ? bytes.length : end));
      if (end === -1) {
        return;
      }
      this.take(new Line(this.whole(), this.length));
      this.begin();
      start = end + 1;
    }
  }

  keep(piece) {
    const wanted = piece.subarray(0, LINE_BYTES_MAX - this.kept);
    this.length += piece.length;
    this.kept += wanted.length;
    if (wanted.length > 0) {
      this.pieces.push(wanted);
    }
  }

  whole() {
    if (this.pieces.length === 1) {
      return this.pieces[0];
    }
    const whole = new Uint8Array(this.kept);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}

/** Follows a reply to its end. */
export class Reply {
  constructor() {
    this.awaited = 1;
  }

  /** Takes the next line; returns whether it ends the reply. */
  take(line) {
    if (!line.isMember) {
      this.awaited += line.members - 1;
    }
    return this.awaited === 0;
  }
}
