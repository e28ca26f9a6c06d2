// A person signs in, sees what the user may see, and signs out. The server has the users `ann`, who may do everything, and `shop`, who may
// read `shop:`; the pairs `shop:1` and `bank`.
import { address, assert, browse, folder, open, reads } from "./session.mjs";

async function signIn(page, user, password) {
  await page.fill("#sign-in input[name=user]", user);
  await page.fill("#sign-in input[name=password]", password);
  await page.click("#sign-in button");
}

await browse(async (browser) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${address}/`);
  await page.waitForSelector("#sign-in[open]");
  await page.screenshot({ path: `${folder}/sign-in.png` });
  await page.keyboard.press("Escape");
  assert.ok(await page.isVisible("#sign-in"));
  await signIn(page, "ann", "wrong");
  await reads(page, "#sign-in .note", "the user or the password is wrong");
  await signIn(page, "ann", "type-a");
  await page.waitForSelector("#connection.on");
  await reads(page, "#user span", "ann");
  await page.goto(`${address}/#explorer`);
  await reads(page, "#pairs", /bank/);
  assert.equal(await page.evaluate(() => document.cookie), "");
  await page.click("#sign-out");
  await page.waitForSelector("#sign-in[open]");
  await signIn(page, "shop", "wool");
  await reads(page, "#user span", "shop");
  await page.goto(`${address}/#explorer`);
  await reads(page, "#pairs", /shop:1/);
  assert.doesNotMatch(await page.textContent("#pairs"), /bank/);
  await reads(page, "#connection", "figures are not permitted");
  await page.screenshot({ path: `${folder}/restricted.png` });
  await context.close();
});
