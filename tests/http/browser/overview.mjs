// The overview: cards, charts, operations, namespaces, the disk.
import { ask, assert, browse, open, put, reads } from "./session.mjs";

await browse(async (browser) => {
  const page = await open(browser, "overview");
  await reads(page, "#namespaces", "There are no keys yet.");
  const began = Date.now();
  for (const key of ["user:1", "user:2", "user:3", "config:mode", "plain", "<img src=x onerror=alert(1)>"]) {
    assert.equal((await put(key, "value")).status, 201);
  }
  await ask("/get/nope");
  await ask("/get/user:1");

  await reads(page, "#cards div:nth-child(1)", "Keys6");
  await reads(page, "#cards div:nth-child(2)", /Memory[\d.]+ MiB/);
  await reads(page, "#cards div:nth-child(3)", /Uptime\d+ (s|min)/);
  await reads(page, "#cards div:nth-child(5)", "Clients0");

  await reads(page, "#operations", "<img src=x onerror=alert(1)>");
  await reads(page, "#operations", "NOT_FOUND");
  const row = await page.locator("#operations tr", { hasText: "nope" }).locator("td").allTextContents();
  assert.deepEqual(row.slice(1, 4), ["GET", "nope", "NOT_FOUND"]);
  assert(Number(row[4]) > 0, row[4]);

  for (const [place, title, line] of [[1, "Requests a second", "SET"], [2, "Time to execute", "p99"], [3, "Reads that find", "hits"], [4, "Memory", "resident"]]) {
    const chart = `#charts figure:nth-child(${place})`;
    await reads(page, chart, title);
    await reads(page, chart, line);
    assert(await page.locator(`${chart} svg`).getAttribute("aria-label"));
  }
  await page.waitForFunction(() => document.querySelectorAll("#charts polyline").length >= 4);
  await reads(page, "#disk", "Durabilityeverysec");
  await reads(page, "#disk", "Statewell");

  await reads(page, "#namespaces", "user:3");
  await reads(page, "#namespaces", "misc2");
  await reads(page, "#donut", "6");
  assert.equal(await page.locator("#donut circle").count(), 3);
  assert(Date.now() - began < 20_000);
  await page.locator('#donut a[aria-label^="user:"]').focus();
  await page.keyboard.press("Enter");
  await page.waitForURL("**/#explorer?prefix=user%3A");
  await reads(page, "#found", "3 shown; these are all.");
  await page.goBack();
  await page.locator("#namespaces a", { hasText: "config:" }).click();
  await reads(page, "#found", "1 shown; these are all.");
});
