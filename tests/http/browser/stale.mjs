// What is old says so, or is read again: counts of namespaces, the tree, the list, the figures of a server that is gone or does not answer.
import { ask, assert, browse, open, put, reads, told } from "./session.mjs";

await browse(async (browser) => {
  await put("user:1", "1");
  await put("user:2", "2");
  const page = await open(browser, "overview");
  await reads(page, "#namespaces", "user:2");
  await page.click('nav a[href="#explorer"]');
  await reads(page, "#tree", "user: 2");

  // The tree and the list follow the person's own changes at once, and say what has happened.
  await page.click("#create");
  await page.fill("#editor [name=key]", "order:7");
  await page.fill("#editor [name=value]", "new");
  await page.click("#editor button[name=save]");
  await reads(page, "#found", 'Created "order:7".');
  await reads(page, "#tree", "order: 1");
  await reads(page, "#pairs tr.changed", "order:7");
  await page.waitForFunction(() => document.activeElement.textContent === "order:7");
  // A new key is shown where the list does not have it, too.
  await page.fill("#search [name=prefix]", "user:");
  await page.click("#create");
  await page.fill("#editor [name=key]", "order:8");
  await page.click("#editor button[name=save]");
  await reads(page, "#pairs tr.changed", "order:8(empty)");
  await reads(page, "#found", 'Created "order:8". 2 shown; these are all.');
  await page.fill("#search [name=prefix]", "");
  await page.click("#search button:not([type])");
  await page.locator("#pairs button", { hasText: "order:8" }).click();
  await page.click("#editor [name=delete]");
  await page.click("#question [name=yes]");
  await reads(page, "#found", 'Deleted "order:8". 3 shown; these are all.');
  await reads(page, "#tree", "order: 1");
  await page.fill("#search [name=prefix]", "order:");
  await page.click("#delete-prefix");
  await page.click("#question [name=yes]");
  await reads(page, "#found", "1 deleted.");
  await page.waitForFunction(() => !document.querySelector("#tree").textContent.includes("order:"));

  // Those of others, within seconds; a branch that is open stays open, and the focus where it is.
  await page.focus('#tree button[aria-label="Namespaces below user:"]');
  await page.keyboard.press("Enter");
  await reads(page, "#tree", "no further namespaces");
  await put("user:3:name", "3");
  await put("late:1", "1");
  await reads(page, "#tree", "3: 1");
  await reads(page, "#tree", "late: 1");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Namespaces below user:");

  // The list says how old it is, and is read again on demand.
  await page.fill("#search [name=prefix]", "late:");
  await page.click("#search button:not([type])");
  await reads(page, "#found", "1 shown; these are all.");
  assert.equal(await page.isVisible("#listed"), false);
  await page.waitForSelector("#listed:not([hidden])");
  await reads(page, "#listed-age", /^Listed 1\d s ago\.$/);
  await put("late:2", "2");
  await page.click("#refresh");
  await reads(page, "#found", "2 shown; these are all.");
  assert.equal(await page.isVisible("#listed"), false);
  // A pair that has gone since is said to have gone.
  await ask("/delete/late:2", { method: "DELETE" });
  await page.locator("#pairs button", { hasText: "late:2" }).click();
  await reads(page, "#found", 'There is no key "late:2" any more.');

  // A pause, and what is shown then.
  await page.click('nav a[href="#overview"]');
  await reads(page, "#cards div:nth-child(1)", "Keys4");
  await page.click("#pause");
  await reads(page, "#paused", /^Paused: what is shown is as it was at \d\d:\d\d:\d\d\.$/);
  await put("while:paused", "1");
  await page.waitForTimeout(2500);
  await reads(page, "#cards div:nth-child(1)", "Keys4");
  await page.click("#pause");
  await reads(page, "#cards div:nth-child(1)", "Keys5");
  assert.equal(await page.textContent("#paused"), "");

  // The server does not answer: the figures are old, and the state of the disk is not known, although the connection is open.
  await reads(page, "#disk", "Statewell");
  assert.equal(await page.isVisible("#stale"), false);
  await told("freeze");
  await page.waitForSelector("#stale:not([hidden])");
  await reads(page, "#stale", /^No figures from the server since \d\d:\d\d:\d\d: what is shown is older\.\s+It is \d+ s old\.$/);
  await reads(page, "#disk", /^Stateunknown; at \d\d:\d\d:\d\d it was: well/);
  await reads(page, "#connection.off", "no answer");
  await told("thaw");
  await page.waitForSelector("#stale", { state: "hidden" });
  await reads(page, "#connection.on", "connected");
  await reads(page, "#disk", "Statewell");
  // It is gone.
  await told("kill");
  await page.waitForSelector("#stale:not([hidden])");
  await reads(page, "#disk", "Stateunknown");
  await page.click('nav a[href="#forms"]');
  assert(await page.isVisible("#stale"));
  await told("start");
  await page.waitForSelector("#stale", { state: "hidden" });
  await page.click('nav a[href="#overview"]');
  await reads(page, "#disk", "Statewell");
});
