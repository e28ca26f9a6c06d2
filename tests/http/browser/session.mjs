// One session of a person in Chromium: `SCRIPT.mjs MODULES CHROMIUM ADDRESS FOLDER`.
// Whatever the page does not do in silence (a fault, a warning of the browser's, a native dialog, a request to another server) ends it
// with an error; the browser's own question before a page goes is counted, and answered by staying. A script prints `restart` and waits for
// a line: the server is started again on the same ports meanwhile.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, executablePath, address, folder] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");

export { address, assert, folder, require };

/** How often the browser has asked whether to leave a page. */
export const leaving = { asked: 0 };

const faults = [];
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** What the browser complains of while there is no server, and for what is refused on purpose. */
const EXPECTED = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|status of 4\d\d/;

/** Has another process do something to the server. */
export async function told(word) {
  console.log(word);
  await input.next();
}

export async function browse(act) {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    await act(browser);
    assert.deepEqual(faults, []);
  } finally {
    await browser.close();
  }
  process.exit(0);
}

/** A page of the dashboard, connected. */
export async function open(browser, screen, options = {}) {
  const page = await browser.newPage(options);
  page.setDefaultTimeout(60_000);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !EXPECTED.test(message.text())) {
      faults.push(message.text());
    }
  });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("dialog", (dialog) => {
    if (dialog.type() === "beforeunload") {
      leaving.asked += 1;
    } else {
      faults.push(`a dialog: ${dialog.message()}`);
    }
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(address)) {
      faults.push(`a request to ${request.url()}`);
    }
  });
  await page.goto(`${address}/#${screen}`);
  await page.waitForSelector("#connection.on");
  return page;
}

/** Waits until an element has such a text. */
export async function reads(page, selector, text) {
  const wanted = text instanceof RegExp ? text : { source: text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), flags: "" };
  try {
    await page.waitForFunction(
      ([selector, source, flags]) => new RegExp(source, flags).test(document.querySelector(selector)?.textContent ?? ""),
      [selector, wanted.source, wanted.flags],
    );
  } catch {
    assert.fail(`${selector} does not read ${text}: ${await page.textContent(selector)}`);
  }
}

/** A request of a program beside the browser. */
export async function ask(path, options) {
  const response = await fetch(`${address}${path}`, options);
  return { status: response.status, body: await response.json().catch(() => null) };
}

export const put = (key, body) =>
  ask(`/api/v1/key?key=${encodeURIComponent(key)}`, { method: "PUT", body: JSON.stringify(typeof body === "string" ? { value: body } : body) });

export const get = async (key) => (await ask(`/api/v1/key?key=${encodeURIComponent(key)}`)).body;
