// What is long: the console shows a part of it, says how much more there is, and can be stopped; the page answers meanwhile.
import { ask, assert, browse, folder, open, put, reads } from "./session.mjs";
import { writeFile } from "node:fs/promises";

const PAIRS = 171_000;
/** A longer time in which the page does nothing is felt as a pause. */
const BLOCKED_MS_MAX = 1500;

/** Measures, from now on, the longest time in which the page could not do anything. */
const measure = (page) => page.evaluate(() => {
  window.blocked = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.blocked = Math.max(window.blocked, now - last);
    last = now;
  }, 10);
});
const isResponsive = async (page) => {
  const blocked = await page.evaluate(() => window.blocked);
  assert(blocked < BLOCKED_MS_MAX, `the page did nothing for ${blocked} ms`);
};

const last = "#log section:last-child";
const lines = (page) => page.locator(`${last} .answer`).count();

await browse(async (browser) => {
  const pairs = Array.from({ length: PAIRS }, (_, number) => [`city:${number}`, `{"name":"Town ${number}","lat":1.5}`]);
  await writeFile(`${folder}/long.json`, JSON.stringify(Object.fromEntries(pairs)));
  const page = await open(browser, "data");
  await page.setInputFiles("#file", `${folder}/long.json`);
  await reads(page, "#imported", "171,000 pairs of long.json are stored.");
  await page.click('nav a[href="#console"]');
  await measure(page);
  const send = async (line) => {
    await page.fill("#prompt input", line);
    await page.press("#prompt input", "Enter");
    await page.waitForFunction(
      (line) => document.querySelector("#log section:last-child .asked")?.textContent === `> ${line}`, line);
  };

  // The first lines, the number of the others, how to ask for fewer, and the end.
  await send("ALL");
  await reads(page, last, "END 171000");
  assert.equal(await lines(page), 501);
  await reads(page, `${last} .note`, "170,500 more lines are not shown; narrow it down by a longer prefix: ALL <prefix>.");
  await isResponsive(page);
  // The request stays in view, wherever one reads.
  for (const part of [0, 0.5, 1]) {
    await page.evaluate((part) => {
      const log = document.querySelector("#log");
      const section = log.lastElementChild;
      log.scrollTop = section.offsetTop - log.offsetTop + part * (section.offsetHeight - log.clientHeight);
    }, part);
    const [log, asked] = await Promise.all(["#log", `${last} .asked`].map((place) => page.locator(place).boundingBox()));
    assert(asked.y >= log.y && asked.y + asked.height <= log.y + log.height, `at ${part}: ${JSON.stringify([log, asked])}`);
  }
  await send("KEYS");
  await reads(page, `${last} .note`, "170,500 more lines are not shown; narrow it down by a longer prefix: KEYS <prefix>.");
  // Exactly what is shown at most, and one line more.
  for (let number = 0; number < 500; number += 1) {
    await put(`exact:${number}`, "1");
  }
  await ask("/delete/exact:499", { method: "DELETE" });
  await send("KEYS exact:");
  await reads(page, last, "END 499");
  assert.equal(await lines(page), 500);
  assert.equal(await page.locator(`${last} .note`).count(), 0);
  await put("exact:499", "1");
  await send("KEYS exact:");
  await reads(page, last, "END 500");
  assert.equal(await page.locator(`${last} .note`).count(), 0);
  await put("exact:500", "1");
  await send("KEYS exact:");
  await reads(page, `${last} .note`, "1 more line is not shown");
  // The log as a whole is bounded.
  for (let time = 0; time < 5; time += 1) {
    await send("KEYS city:1");
    await reads(page, last, "END ");
  }
  assert(await page.locator("#log div").count() < 2600);

  // A value of megabytes.
  const long = "x".repeat(20 << 20);
  await ask("/api/v1/key?key=long", { method: "PUT", body: JSON.stringify({ value: long }) });
  await send("GET long");
  await reads(page, last, "20 MiB more, not shown");
  assert((await page.locator(`${last} .answer`).textContent()).length < 11_000);
  await send("MGET long a long");
  await page.waitForFunction(() => document.querySelectorAll("#log section:last-child .answer").length === 4);
  await isResponsive(page);
  await page.waitForSelector("#stop", { state: "hidden" });

  // What does not end is stopped, by the button or by Escape, and the next line opens another connection.
  await send("MONITOR");
  await page.waitForSelector("#stop:not([hidden])");
  await reads(page, "#running", "Running: MONITOR");
  const requests = Array.from({ length: 20 }, () => ask("/api/v1/batch", {
    method: "POST", body: JSON.stringify({ operations: Array.from({ length: 1000 }, (_, number) => ({ op: "get", key: `city:${number}` })) }),
  }));
  await Promise.all(requests);
  await reads(page, `${last} .note`, /^[\d,]+ earlier lines are not shown\.$/);
  assert(await lines(page) <= 500);
  await isResponsive(page);
  await page.click("#stop");
  await reads(page, last, "Stopped: the connection has been closed");
  assert.equal(await page.isVisible("#stop"), false);
  await send("PING");
  await reads(page, last, "PONG");
  await send("FOLLOW exact:");
  await page.waitForSelector("#stop:not([hidden])");
  await put("exact:1", "changed");
  await reads(page, last, "changed");
  // Another request meanwhile; what comes by itself then is said to go on.
  await send("GET exact:1");
  await reads(page, last, 'VALUE "changed"');
  await put("exact:2", "later");
  await reads(page, last, "> FOLLOW exact: (goes on)");
  await reads(page, last, "later");
  await page.press("#prompt input", "Escape");
  await reads(page, last, "Stopped");
  await send("SUBSCRIBE news");
  await reads(page, last, 'SUBSCRIBED "news" 1');
  await page.waitForSelector("#stop:not([hidden])");
  await send("UNSUBSCRIBE news");
  await page.waitForSelector("#stop", { state: "hidden" });

  // A long reply is stopped on its way.
  await send("ALL");
  await page.press("#prompt input", "Control+c");
  await send("PING");
  await reads(page, last, "PONG");

  // Elsewhere: a form shows the beginning, and a list the beginning of a key.
  await page.click('nav a[href="#forms"]');
  await page.fill("#get [name=key]", "long");
  await page.click("#get button");
  await reads(page, "#get .note", "20 MiB");
  assert((await page.textContent("#get pre")).length < 110_000);
  await put(`k${"e".repeat(60_000)}y`, "1");
  await page.click('nav a[href="#explorer"]');
  await page.fill("#search [name=prefix]", "kee");
  await page.press("#search [name=prefix]", "Enter");
  await reads(page, "#found", "1 shown; these are all.");
  assert((await page.textContent("#pairs .key")).length < 300);
});
