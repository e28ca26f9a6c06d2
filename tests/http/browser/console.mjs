// The console: lines, answers, completion, history, and what comes by itself.
import { assert, browse, open, put, reads, told } from "./session.mjs";

await browse(async (browser) => {
  await put("user:1:name", "Ada");
  await put("user:1:role", "Admin");
  await put("user:2:name", "Grace <b>");
  await put("with blank", "x");
  const page = await open(browser, "console");
  const line = page.locator("#prompt input");
  const log = () => page.locator("#log div").allTextContents();
  const send = async (text, answers = 1) => {
    const before = (await log()).length;
    await line.fill(text);
    await line.press("Enter");
    await page.waitForFunction((least) => document.querySelectorAll("#log div").length >= least, before + 1 + answers);
    return (await log()).slice(before + 1);
  };

  assert.deepEqual(await send("PUT greeting hello"), ["OK"]);
  assert.deepEqual(await send("get user:2:name"), ['VALUE "Grace <b>"']);
  const [refusal] = await send("GTE a");
  assert.match(refusal, /^ERR UNKNOWN /);
  assert.equal(await page.locator("#log div.bad").count(), 1);
  // One session: a transaction goes from line to line.
  assert.deepEqual(await send("MULTI"), ["OK"]);
  assert.deepEqual(await send("PUT a 1"), ["QUEUED"]);
  assert.deepEqual((await send("EXEC", 2)).slice(-1), ["OK"]);

  // Hints and completion.
  await line.fill("get");
  await reads(page, "#hint", "GET");
  await line.fill("GET ");
  await reads(page, "#hint", /^GET <key>: /);
  await line.fill("GTE ");
  await reads(page, "#hint", "There is no command GTE; HELP lists them.");
  await line.fill("dbs");
  await line.press("Tab");
  await page.waitForFunction(() => document.querySelector("#prompt input").value === "DBSIZE ");
  await line.fill("GET us");
  await line.press("Tab");
  await page.waitForFunction(() => document.querySelector("#prompt input").value === "GET user:");
  await reads(page, "#hint", "user:1:name  user:1:role  user:2:name");
  await line.fill("GET user:2");
  await line.press("Tab");
  await page.waitForFunction(() => document.querySelector("#prompt input").value === "GET user:2:name ");
  await line.fill("GET wi");
  await line.press("Tab");
  await page.waitForFunction(() => document.querySelector("#prompt input").value === 'GET "with blank" ');
  await line.press("Enter");
  await reads(page, "#log", 'VALUE "x"');
  // An empty line does not catch the keyboard.
  await line.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Send");

  // History.
  await line.press("ArrowUp");
  assert.equal(await line.inputValue(), 'GET "with blank" '.trim());
  await line.press("ArrowUp");
  assert.equal(await line.inputValue(), "EXEC");
  await line.press("ArrowDown");
  await line.press("ArrowDown");
  assert.equal(await line.inputValue(), "");

  // What comes by itself.
  assert.match((await send("FOLLOW user:"))[0], /^FOLLOWING /);
  await put("user:9:name", "Linus");
  await reads(page, "#log", "Linus");

  // The connection ends, and the next line opens another one.
  await told("restart");
  await reads(page, "#log", "The connection has ended; the next line opens another one.");
  await page.waitForSelector("#connection.on");
  assert.deepEqual(await send("GET greeting"), ['VALUE "hello"']);
});
