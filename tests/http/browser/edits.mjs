// An edit that is not saved is not lost without a question, and of two versions of a pair both are seen. The server has the user `ann`.
import { address, ask, assert, browse, get, leaving, open, put, reads, told } from "./session.mjs";

const save = "#editor button[name=save]";
const isOpen = (page) => page.isVisible("#editor[open]");
const closed = (page) => page.waitForSelector("#editor", { state: "hidden" });
const value = (page) => page.inputValue("#editor [name=value]");

async function openPair(page, key) {
  await page.locator("#pairs button", { hasText: key }).first().click();
  await page.waitForSelector("#editor[open]");
}

/** Is asked whether to discard an edit, and stays. */
async function stays(page, what) {
  await page.waitForSelector("#question[open]");
  await reads(page, "#question-text", `What you have changed of ${what} is not saved.`);
  await page.click("#question [name=no]");
  await page.waitForSelector("#question", { state: "hidden" });
  assert(await isOpen(page));
}

await browse(async (browser) => {
  await put("pair", "first");
  await put("other", "x");
  const page = await open(browser, "explorer");

  // Nothing changed, nothing asked.
  await openPair(page, "pair");
  await page.keyboard.press("Escape");
  await closed(page);
  await openPair(page, "pair");
  await page.selectOption("#editor [name=view]", "base64");
  await page.click("#editor [name=close]");
  await closed(page);

  // Escape, as often as one likes; Close; the way back; the page itself.
  await openPair(page, "pair");
  await page.fill("#editor [name=value]", "mine");
  for (let time = 0; time < 3; time += 1) {
    await page.keyboard.press("Escape");
    await stays(page, '"pair"');
  }
  // Escape says no to the question as well, and however often it is pressed, the edit stays.
  for (let time = 0; time < 8; time += 1) {
    await page.keyboard.press("Escape");
  }
  await page.waitForTimeout(100);
  assert(await isOpen(page));
  assert.equal(await value(page), "mine");
  if (await page.isVisible("#question")) {
    await page.click("#question [name=no]");
  }
  await page.click("#editor [name=close]");
  await stays(page, '"pair"');
  await page.mouse.click(5, 5);
  assert(await isOpen(page));
  await page.evaluate(() => { location.hash = "#overview"; });
  await stays(page, '"pair"');
  await page.waitForFunction(() => location.hash === "#explorer");
  assert(await page.isVisible("#explorer"));
  await page.reload().catch(() => {});
  assert.equal(leaving.asked, 1);
  assert.equal(await value(page), "mine");
  await page.keyboard.press("Escape");
  await page.click("#question [name=yes]");
  await closed(page);
  assert.equal((await get("pair")).value, "first");
  // An expiry and a new key are edits, too.
  await openPair(page, "pair");
  await page.fill("#editor [name=expiry]", "60");
  await page.keyboard.press("Escape");
  await stays(page, '"pair"');
  await page.fill("#editor [name=expiry]", "");
  await page.keyboard.press("Escape");
  await closed(page);
  await page.click("#create");
  await page.fill("#editor [name=key]", "n");
  await page.keyboard.press("Escape");
  await stays(page, "the new key");
  await page.keyboard.press("Escape");
  await page.click("#question [name=yes]");
  await closed(page);
  // So is what was typed under Forms.
  await page.click('nav a[href="#forms"]');
  await page.fill("#put [name=key]", "typed");
  await page.fill("#put textarea", "typed");
  await page.click('nav a[href="#overview"]');
  await page.reload().catch(() => {});
  assert.equal(leaving.asked, 2);
  await page.click('nav a[href="#forms"]');
  assert.equal(await page.inputValue("#put textarea"), "typed");
  await page.click("#put button");
  await reads(page, "#put .note", "Stored");
  await page.reload();
  assert.equal(leaving.asked, 2);

  // Somebody else has changed it: both versions, and a way on with each.
  await page.goto(`${address}/#explorer`);
  const conflict = async (theirs) => {
    await reads(page, "#editor-note", "Not saved: somebody has changed it meanwhile");
    await page.waitForSelector("#conflict:not([hidden])");
    assert.equal(await page.inputValue("#theirs"), theirs);
    assert.equal(await value(page), "mine");
  };
  await openPair(page, "pair");
  await page.fill("#editor [name=value]", "mine");
  await put("pair", "theirs");
  await page.click(save);
  await conflict("theirs");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.click("#conflict [name=copy-mine]");
  await reads(page, "#editor-note", "Copied.");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "mine");
  // Changed once more, it is asked about once more.
  await put("pair", { value: "later", expires_in_ms: 3_600_000 });
  await page.click("#conflict [name=overwrite]");
  await page.waitForFunction(() => document.querySelector("#theirs").value === "later");
  await conflict("later");
  assert.equal((await get("pair")).value, "later");
  await page.click("#conflict [name=overwrite]");
  await closed(page);
  await reads(page, "#found", 'Saved "pair".');
  assert.equal((await get("pair")).value, "mine");
  assert((await get("pair")).expires_at !== null);
  await openPair(page, "pair");
  await page.fill("#editor [name=value]", "mine again");
  await put("pair", "theirs");
  await page.click(save);
  await page.click("#conflict [name=reload]");
  await page.waitForSelector("#conflict", { state: "hidden" });
  assert.equal(await value(page), "theirs");
  // What was reloaded is what further changes are compared with.
  await page.fill("#editor [name=value]", "after theirs");
  await page.click(save);
  await closed(page);
  assert.equal((await get("pair")).value, "after theirs");

  // Deleted meanwhile.
  await openPair(page, "pair");
  await page.fill("#editor [name=value]", "mine");
  await ask("/delete/pair", { method: "DELETE" });
  await page.click(save);
  await reads(page, "#conflict", "There is no such key now.");
  await page.click("#conflict [name=overwrite]");
  await closed(page);
  assert.equal((await get("pair")).value, "mine");
  await openPair(page, "pair");
  await page.fill("#editor [name=expiry]", "60");
  await ask("/delete/pair", { method: "DELETE" });
  await page.click(save);
  await reads(page, "#conflict", "There is no such key now.");
  await page.click("#conflict [name=reload]");
  await closed(page);
  await reads(page, "#found", 'Already gone: "pair".');
  assert.equal((await ask("/get/pair")).status, 404);

  // Created meanwhile; and changed before it is deleted.
  await put("pair", "theirs");
  await page.click("#create");
  await page.fill("#editor [name=key]", "pair");
  await page.fill("#editor [name=value]", "mine");
  await page.click(save);
  await reads(page, "#editor-note", "Not saved: there is such a key already");
  await page.waitForSelector("#conflict:not([hidden])");
  assert.equal(await page.inputValue("#theirs"), "theirs");
  await page.click("#conflict [name=overwrite]");
  await closed(page);
  assert.equal((await get("pair")).value, "mine");
  await openPair(page, "pair");
  await put("pair", "theirs");
  await page.click("#editor [name=delete]");
  await page.click("#question [name=yes]");
  await reads(page, "#editor-note", "Not deleted: somebody has changed it meanwhile");
  await page.waitForSelector("#conflict:not([hidden])");
  assert.equal(await page.inputValue("#theirs"), "theirs");
  assert.equal((await get("pair")).value, "theirs");
  await page.click("#conflict [name=overwrite]");
  await closed(page);
  await reads(page, "#found", 'Deleted "pair".');
  assert.equal((await ask("/get/pair")).status, 404);

  // The server is gone while something is edited, and comes back.
  await openPair(page, "other");
  await page.fill("#editor [name=value]", "mine");
  await told("kill");
  await page.click(save);
  await reads(page, "#editor-note", "Not saved: The server cannot be reached.");
  await told("start");
  await page.waitForSelector("#connection.on");
  await page.click(save);
  await closed(page);
  assert.equal((await get("other")).value, "mine");
});
