// The server is killed and started again while the page is open: the page says so, and is there again by itself.
import { assert, browse, open, put, reads, told } from "./session.mjs";

await browse(async (browser) => {
  const page = await open(browser, "overview");
  await put("kept", "1");
  await reads(page, "#cards div:nth-child(1)", "Keys1");
  await told("kill");
  await page.waitForSelector("#connection.off");
  assert.equal(await page.textContent("#connection"), "not connected; trying again");
  await page.click('nav a[href="#explorer"]');
  await reads(page, "#found", /The server cannot be reached/);
  await told("start");
  await page.waitForSelector("#connection.on");
  assert.equal(await page.textContent("#connection"), "connected");
  await page.click('nav a[href="#overview"]');
  await put("new", "2");
  await reads(page, "#cards div:nth-child(1)", "Keys2");
  await page.click('nav a[href="#explorer"]');
  await reads(page, "#found", "2 shown; these are all.");
});
