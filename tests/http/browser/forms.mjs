// Get, put, delete.
import { assert, browse, get, open, put, reads } from "./session.mjs";

await browse(async (browser) => {
  const page = await open(browser, "forms");
  await page.fill("#put [name=key]", "a/b \u4e16");
  await page.fill("#put textarea", "line 1\nline 2 <b>");
  await page.click("#put button");
  await reads(page, "#put .note", 'Stored "a/b \u4e16".');
  assert.deepEqual(await get("a/b \u4e16"), { key: "a/b \u4e16", value: "line 1\nline 2 <b>", expires_at: null });
  await page.fill("#put [name=key]", "short");
  await page.fill("#put [name=expiry]", "3600");
  await page.click("#put button");
  await reads(page, "#put .note", 'Stored "short".');
  assert((await get("short")).expires_at !== null);

  await page.fill("#get [name=key]", "a/b \u4e16");
  await page.locator("#get [name=key]").press("Enter");
  await reads(page, "#get pre", "line 1\nline 2 <b>");
  await reads(page, "#get .note", "17 B");
  await put("bytes", { value: { $base64: "AP8=" }, expires_in_ms: 3_600_000 });
  await page.fill("#get [name=key]", "bytes");
  await page.click("#get button");
  await reads(page, "#get pre", "AP8=");
  await reads(page, "#get .note", /^2 B, shown as base64, expires /);
  await page.fill("#get [name=key]", "nope");
  await page.click("#get button");
  await reads(page, "#get .note", 'There is no key "nope".');
  assert.equal(await page.isVisible("#get pre"), false);

  await page.fill("#delete [name=key]", "short");
  await page.click("#delete button");
  await page.click("#question [name=yes]");
  await reads(page, "#delete .note", 'Deleted "short".');
  await page.click("#delete button");
  await reads(page, "#delete .note", 'There is no key "short".');
  for (const form of ["put", "get", "delete"]) {
    await page.fill(`#${form} [name=key]`, "..");
  }
  await page.fill("#put [name=expiry]", "");
  await page.click("#put button");
  await reads(page, "#put .note", 'Stored "..".');
  await page.click("#get button");
  await reads(page, "#get .note", "17 B");
  await page.click("#delete button");
  await page.click("#question [name=yes]");
  await reads(page, "#delete .note", 'Deleted "..".');
});
