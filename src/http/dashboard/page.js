// Elements, requests, and numbers and texts as people read them. What comes from the store is only ever text: nothing here takes HTML.

export const find = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

function complete(element, attributes, children) {
  for (const [attribute, value] of Object.entries(attributes)) {
    element.setAttribute(attribute, value);
  }
  element.append(...children);
  return element;
}

/** An element with attributes and children; a child that is no element is text. */
export const make = (name, attributes = {}, ...children) => complete(document.createElement(name), attributes, children);

/** The same, of a drawing. */
export const draw = (name, attributes = {}, ...children) => complete(document.createElementNS(SVG, name), attributes, children);

const COUNT = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (number) => COUNT.format(number);

/** A number of things whose plural has an s. */
export const counted = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;

/** Characters of a key or a value that are shown within a sentence. */
const SHOWN_CHARACTERS = 80;

/** A key or a value, or its beginning, within a sentence. */
export function shown(text) {
  const characters = [...text.slice(0, 2 * SHOWN_CHARACTERS)];
  return characters.length > SHOWN_CHARACTERS ? `${JSON.stringify(characters.slice(0, SHOWN_CHARACTERS).join(""))}…` : JSON.stringify(text);
}

export function rate(number) {
  return number >= 1e6 ? `${SHORT.format(number / 1e6)} M` : number >= 1e4 ? `${SHORT.format(number / 1e3)} k` : SHORT.format(number);
}

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${SHORT.format(number)} ${units[unit]}`;
}

export function microseconds(number) {
  return number >= 1e6 ? `${SHORT.format(number / 1e6)} s` : number >= 1e3 ? `${SHORT.format(number / 1e3)} ms` : `${SHORT.format(number)} µs`;
}

export function duration(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const shown = [];
  for (const [length, unit] of parts) {
    if (seconds >= length && shown.length < 2) {
      shown.push(`${Math.floor(seconds / length)} ${unit}`);
      seconds %= length;
    }
  }
  return shown.join(" ") || "0 s";
}

/** The time that has passed since a moment, given in milliseconds since 1970. */
export const ago = (moment) => `${duration(Math.max(0, (Date.now() - moment) / 1000))} ago`;

const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const clock = (moment) => CLOCK.format(moment);

/**
 * Sends a request to the API. Returns its answer, its ETag, and the server's time in milliseconds since 1970; throws an error whose
 * message is a sentence.
 */
export async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  const text = await response.text();
  const answer = text === "" ? null : JSON.parse(text);
  if (!response.ok) {
    if (response.status === 401) {
      dispatchEvent(new Event("signed-out"));
    }
    const error = new Error(answer?.detail ?? `${response.status} ${response.statusText}`);
    error.status = response.status;
    throw error;
  }
  return { answer, etag: response.headers.get("etag"), at: Date.parse(response.headers.get("date") ?? "") };
}
