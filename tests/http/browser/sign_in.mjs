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

  // The session ends while something is edited: the edit waits for its user.
  await page.locator("#pairs button", { hasText: "bank" }).click();
  await page.fill("#editor [name=value]", "mine");
  await context.clearCookies();
  await page.click("#editor button[name=save]");
  await page.waitForSelector("#sign-in[open]");
  await reads(page, "#sign-in .note", 'The session has ended. Sign in as ann to keep the edit of "bank".');
  for (let time = 0; time < 4; time += 1) {
    await page.keyboard.press("Escape");
  }
  assert.ok(await page.isVisible("#sign-in"));
  assert.equal(await page.inputValue("#sign-in input[name=user]"), "ann");
  await signIn(page, "ann", "type-a");
  await page.waitForSelector("#sign-in", { state: "hidden" });
  assert.equal(await page.inputValue("#editor [name=value]"), "mine");
  await page.click("#editor button[name=save]");
  await page.waitForSelector("#editor", { state: "hidden" });
  await reads(page, "#found", 'Saved "bank".');

  // Signing out asks as well.
  await page.goto(`${address}/#forms`);
  await page.fill("#put textarea", "typed");
  await page.click("#sign-out");
  await reads(page, "#question-text", "Not saved: the value under Forms, Put.");
  await page.click("#question [name=no]");
  assert.equal(await page.inputValue("#put textarea"), "typed");
  await page.click("#sign-out");
  await page.click("#question [name=yes]");
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
