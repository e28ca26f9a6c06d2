// Whatever deletes or overwrites asks first, in every part of the page, and says what would be lost.
import { ask, assert, browse, folder, get, open, put, reads, told } from "./session.mjs";
import { writeFile } from "node:fs/promises";

const keys = async (prefix = "") => (await ask(`/api/v1/count?prefix=${prefix}`)).body.keys;
const yes = (page) => page.click("#question [name=yes]");
const no = async (page) => {
  await page.keyboard.press("Escape");
  await page.waitForSelector("#question", { state: "hidden" });
};

/** Says no to the question about a line of the console, and waits until the line is given back: the next one takes its place. */
const notSent = async (page) => {
  await no(page);
  await reads(page, "#hint", "Not sent.");
};

/** Waits for a question. */
async function question(page, text) {
  await page.waitForSelector("#question[open]");
  await reads(page, "#question-text", text);
}

/** Sends a line of the console, which is asked about. */
async function asked(page, line, text) {
  await page.fill("#prompt input", line);
  await page.press("#prompt input", "Enter");
  await question(page, text);
  // Nothing is sent after a no, and the line is there for another try.
  await notSent(page);
  assert.equal(await page.inputValue("#prompt input"), line);
  await page.press("#prompt input", "Enter");
  await page.waitForSelector("#question[open]");
}

/** Sends a line that is not asked about. */
async function unasked(page, line, answer) {
  await page.fill("#prompt input", line);
  await page.press("#prompt input", "Enter");
  await page.waitForFunction(
    ([line, answer]) => document.querySelector("#log section:last-child").textContent.startsWith(`> ${line}${answer}`), [line, answer]);
  assert.equal(await page.isVisible("#question"), false);
}

await browse(async (browser) => {
  for (const key of ["a", "b", "user:1", "user:2", "user:3"]) {
    await put(key, `value of ${key}`);
  }
  let page = await open(browser, "console");

  // The console: what deletes keys says how many.
  await asked(page, 'delprefix "user:"', 'Delete 3 keys that begin with "user:"? They cannot be brought back.');
  await put("user:4", "x");
  await yes(page);
  await reads(page, "#log section:last-child", "COUNT 4");
  await asked(page, "DEL a b nope", 'Delete 2 keys: "a", "b"? They cannot be brought back.');
  await yes(page);
  await reads(page, "#log section:last-child", "COUNT 2");
  await put("c", "1");
  await put("d", "1");
  await asked(page, "UNLINK d c", 'Delete 2 keys: "d", "c"?');
  await notSent(page);
  for (const verb of ["CLEAR", "flushall", "FLUSHDB ASYNC"]) {
    await asked(page, verb, "Delete every key? There are 2. They cannot be brought back.");
    assert.equal(await page.isDisabled("#question [name=yes]"), true);
    await notSent(page);
  }
  assert.equal(await keys(), 2);
  await page.fill("#prompt input", "CLEAR");
  await page.press("#prompt input", "Enter");
  await page.fill("#question [name=word]", "CLEAR");
  // Enter gives the answer that has been typed.
  await page.press("#question [name=word]", "Enter");
  await reads(page, "#log section:last-child", "OK");
  assert.equal(await keys(), 0);
  // Nothing to delete, nothing to ask.
  await unasked(page, "CLEAR", "OK");
  await unasked(page, "DELPREFIX user:", "COUNT 0");
  await unasked(page, "DEL a b", "COUNT 0");
  await put("a", "1");
  await put("b", "1");
  await unasked(page, "DELPREFIX a DRYRUN", "COUNT 1");
  await unasked(page, "DEL a", "COUNT 1");
  await unasked(page, "SHUTDOWN ABORT", "ERR ");
  // What ends users, tokens, connections or the server names them.
  await unasked(page, "ACL SETUSER ann on >secret", "OK");
  await asked(page, "ACL DELUSER ann bob", 'Send ACL DELUSER for "ann", "bob"? This cannot be undone.');
  await yes(page);
  await reads(page, "#log section:last-child", "COUNT 1");
  await asked(page, "token del prometheus", 'Send TOKEN DEL for "prometheus"? This cannot be undone.');
  await notSent(page);
  await asked(page, "CLIENT KILL TYPE normal", 'Send CLIENT KILL for "TYPE", "normal"?');
  await notSent(page);
  await asked(page, "SHUTDOWN NOSAVE", "Stop the server, for everybody?");
  assert.equal(await page.isDisabled("#question [name=yes]"), true);
  await notSent(page);
  // In a transaction, too: it would be executed without another word.
  await unasked(page, "MULTI", "OK");
  await asked(page, "CLEAR", "Delete every key? There is 1.");
  await notSent(page);
  await unasked(page, "DISCARD", "OK");

  // Forms.
  await page.click('nav a[href="#forms"]');
  await page.fill("#put [name=key]", "b");
  await page.fill("#put textarea", "mine");
  await page.click("#put button");
  await question(page, 'Overwrite "b"? It has 1 B, "1", and cannot be brought back.');
  await no(page);
  await reads(page, "#put .note", "Nothing was stored.");
  assert.equal((await get("b")).value, "1");
  await page.click("#put button");
  await page.waitForSelector("#question[open]");
  // What is lost is what was shown: a change before the answer is asked about again.
  await put("b", { value: "2", expires_in_ms: 3_600_000 });
  await yes(page);
  await question(page, /^Overwrite "b"\? It has 1 B, "2", which expires .*, and cannot be brought back\.$/);
  assert.equal((await get("b")).value, "2");
  await yes(page);
  await reads(page, "#put .note", /^Stored "b"\. It had 1 B, "2"/);
  assert.equal((await get("b")).value, "mine");
  await page.fill("#put [name=key]", "new");
  await page.click("#put button");
  await reads(page, "#put .note", 'Stored "new". It is a new key.');
  await page.fill("#delete [name=key]", "b");
  await page.click("#delete button");
  await question(page, 'Delete "b"? It has 4 B, "mine", and cannot be brought back.');
  await no(page);
  await reads(page, "#delete .note", "Nothing was deleted.");
  assert.equal((await get("b")).value, "mine");
  await page.click("#delete button");
  await put("b", "changed");
  await yes(page);
  await question(page, 'Delete "b"? It has 7 B, "changed"');
  await yes(page);
  await reads(page, "#delete .note", 'Deleted "b".');

  // The explorer: a prefix has more keys than a list that is narrowed by a text, or not searched yet.
  for (let number = 0; number < 12; number += 1) {
    await put(`many:${number}`, number < 3 ? "red" : "blue");
  }
  await page.click('nav a[href="#explorer"]');
  await page.fill("#search [name=prefix]", "many:");
  await page.fill("#search [name=search]", "red");
  await page.click("#delete-prefix");
  await question(page, 'Delete 12 keys that begin with "many:"? They cannot be brought back. The list shows only those with "red"; the others are deleted, too.');
  assert.equal(await page.locator("#pairs tr").count(), 3);
  await no(page);
  assert.equal(await keys("many:"), 12);
  await page.fill("#search [name=search]", "");
  await page.click("#delete-prefix");
  await question(page, 'Delete 12 keys that begin with "many:"? They cannot be brought back.');
  assert.equal(await page.locator("#pairs tr").count(), 12);
  await put("many:x", "1");
  await yes(page);
  await reads(page, "#found", "13 deleted. That is 1 more than when you were asked.");

  // Data: an import and the sample data overwrite.
  await page.click('nav a[href="#data"]');
  await put("user:101:name", "mine");
  await put("config:mode", "production");
  await page.click("#seed");
  await question(page, 'Overwrite 1 key: "user:101:name"? What is there now cannot be brought back.');
  await no(page);
  await reads(page, "#done", "Nothing was stored.");
  assert.equal((await get("user:101:name")).value, "mine");
  await writeFile(`${folder}/over.json`, '{"user:101:name": "theirs"}');
  await page.setInputFiles("#file", `${folder}/over.json`);
  await question(page, "Import over.json, 27 B? There are 3 keys now. Keys that are in the file are overwritten, and what they have now cannot be brought back.");
  await no(page);
  await reads(page, "#imported", "Nothing was stored.");
  assert.equal((await get("user:101:name")).value, "mine");
  await page.setInputFiles("#file", `${folder}/over.json`);
  await yes(page);
  await reads(page, "#imported", "1 pair of over.json is stored.");

  // Where the number cannot be asked for, nothing is sent.
  await page.click('nav a[href="#console"]');
  await told("kill");
  await page.waitForSelector("#connection.off");
  await page.fill("#prompt input", "CLEAR");
  await page.press("#prompt input", "Enter");
  await reads(page, "#log section:last-child", "Not sent: The server cannot be reached.");
  assert.equal(await page.inputValue("#prompt input"), "CLEAR");
  await page.close();
});
