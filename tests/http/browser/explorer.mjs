// The explorer: the tree, search, pages; a pair created, edited in each form, deleted; a prefix deleted.
import { ask, assert, browse, get, open, put, reads } from "./session.mjs";

const HOSTILE = "<img src=x onerror=alert(1)>";
const save = "#editor button[name=save]";

async function search(page, prefix, text = "") {
  await page.fill("#search [name=prefix]", prefix);
  await page.fill("#search [name=search]", text);
  await page.click("#search button.search, #search button:not([type])");
}

async function openPair(page, key) {
  await page.locator("#pairs button", { hasText: key }).first().click();
  await page.waitForSelector("#editor[open]");
}

const closed = (page) => page.waitForSelector("#editor", { state: "hidden" });

await browse(async (browser) => {
  for (let number = 0; number < 120; number += 1) {
    await put(`user:${number}:name`, `Person ${number}`);
  }
  await put("user:7:role", "Admin");
  await put("config:mode", "production");
  await put(HOSTILE, HOSTILE);
  await put("json", '{"big":12345678901234567890,"list":[1,{"a":"x:y"}],"empty":{}}');
  await put("bytes", { value: { $base64: "AP8=" } });
  const page = await open(browser, "explorer");

  // Pages.
  await reads(page, "#found", "50 shown, of 50 looked at; there may be more.");
  await page.click("#more");
  await reads(page, "#found", "100 shown, of 100 looked at; there may be more.");
  await page.click("#more");
  await reads(page, "#found", "125 shown; these are all.");
  assert.equal(await page.isVisible("#more"), false);

  // Search in keys and values, on the server.
  await search(page, "", "person 11");
  await reads(page, "#found", "11 shown; these are all.");
  await search(page, "user:7:");
  await reads(page, "#found", "2 shown; these are all.");
  await search(page, "nope");
  await reads(page, "#found", "No key is like this.");

  // The tree: branch by branch, and a click leads to the pairs.
  await reads(page, "#tree", "user: 121");
  await page.click('#tree button[aria-label="Namespaces below user:"]');
  await reads(page, "#tree", "7: 2");
  await reads(page, "#tree", "and 20 smaller ones");
  await page.locator('#tree a[href="#explorer?prefix=user%3A7%3A"]').click();
  await reads(page, "#found", "2 shown; these are all.");

  // A key that would like to be a script.
  await search(page, "<img");
  await reads(page, "#found", "1 shown; these are all.");
  assert.equal(await page.locator("#pairs img").count(), 0);
  await openPair(page, HOSTILE);
  assert.equal(await page.inputValue("#editor [name=key]"), HOSTILE);
  await page.fill("#editor textarea", `${HOSTILE}!`);
  await page.click(save);
  await closed(page);
  assert.equal((await get(HOSTILE)).value, `${HOSTILE}!`);

  // JSON is shown over several lines, with every digit, and stored as compact as it was.
  await search(page, "json");
  await openPair(page, "json");
  assert.equal(await page.inputValue("#editor [name=view]"), "json");
  const shown = await page.inputValue("#editor textarea");
  assert.equal(shown, '{\n  "big": 12345678901234567890,\n  "list": [\n    1,\n    {\n      "a": "x:y"\n    }\n  ],\n  "empty": {}\n}');
  await page.fill("#editor textarea", shown.replace("1,", "1, 2,"));
  await reads(page, "#editor-note", "valid JSON");
  await page.click(save);
  await closed(page);
  assert.equal((await get("json")).value, '{"big":12345678901234567890,"list":[1,2,{"a":"x:y"}],"empty":{}}');
  await openPair(page, "json");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.click("#editor [name=copy]");
  await reads(page, "#editor-note", "Copied.");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await page.inputValue("#editor textarea"));
  await page.fill("#editor textarea", "{");
  await reads(page, "#editor-note", "this is no JSON");
  await page.click(save);
  await reads(page, "#editor-note", "Not saved: this is no JSON");
  await page.selectOption("#editor [name=view]", "text");
  assert.equal(await page.inputValue("#editor [name=view]"), "json");
  await page.click("#editor [name=close]");
  await page.click("#question [name=yes]");
  await closed(page);

  // Bytes as base64, and there and back.
  await search(page, "bytes");
  await reads(page, "#pairs", "base64 AP8=");
  await openPair(page, "bytes");
  assert.equal(await page.inputValue("#editor [name=view]"), "base64");
  assert.equal(await page.inputValue("#editor textarea"), "AP8=");
  await page.selectOption("#editor [name=view]", "text");
  await reads(page, "#editor-note", "These bytes are no text");
  await page.fill("#editor textarea", "AP//");
  await page.click(save);
  await closed(page);
  assert.deepEqual((await get("bytes")).value, { $base64: "AP//" });
  await openPair(page, "bytes");
  await page.fill("#editor textarea", "w6Q=");
  await page.selectOption("#editor [name=view]", "text");
  assert.equal(await page.inputValue("#editor textarea"), "\u00e4");
  await page.click(save);
  await closed(page);
  assert.equal((await get("bytes")).value, "\u00e4");

  // Created, with an expiry; the expiry alone changed; then none.
  await page.click("#create");
  await page.fill("#editor [name=key]", "new key");
  await page.fill("#editor textarea", "first");
  await page.fill("#editor [name=expiry]", "3600");
  await page.click(save);
  await closed(page);
  const created = await get("new key");
  assert.equal(created.value, "first");
  assert(Math.abs(Date.parse(created.expires_at) - Date.now() - 3_600_000) < 60_000);
  await search(page, "new key");
  await openPair(page, "new key");
  await page.fill("#editor textarea", "second");
  await page.click(save);
  await closed(page);
  assert.deepEqual(await get("new key"), { ...created, value: "second" });
  await openPair(page, "new key");
  await page.fill("#editor [name=expiry]", "");
  await page.click(save);
  await closed(page);
  assert.deepEqual(await get("new key"), { ...created, value: "second", expires_at: null });

  // Deleted, after a question that can be said no to.
  await openPair(page, "new key");
  await page.click("#editor [name=delete]");
  await page.click("#question [value=no]");
  assert.equal((await get("new key")).value, "second");
  await page.click("#editor [name=delete]");
  await reads(page, "#question-text", 'Delete "new key"? It has 6 B, "second", and cannot be brought back.');
  await page.click("#question [name=yes]");
  await closed(page);
  await reads(page, "#found", 'Deleted "new key".');
  assert.equal((await ask("/api/v1/keys/new%20key")).status, 404);

  // Keys that a path would fold, or a query that is not encoded would split; neighbours that they would fold to stay.
  const neighbours = ["folded", "a/b"];
  for (const key of neighbours) {
    await put(key, "neighbour");
  }
  for (const key of ["", ".", "..", "a/../folded", "a//b", "/", "a\\b", "%2e", "a?b#c", "a&key=b", " ", "\u200b", "a+b"]) {
    await page.click("#create");
    await page.fill("#editor [name=key]", key);
    await page.fill("#editor textarea", "dots");
    await page.click(save);
    await closed(page);
    assert.equal((await get(key)).value, "dots");
    await search(page, "", "dots");
    await reads(page, "#found", "1 shown");
    await page.locator("#pairs button").first().click();
    await page.waitForSelector("#editor[open]");
    assert.equal(await page.inputValue("#editor textarea"), "dots");
    await page.fill("#editor textarea", "dots again");
    await page.fill("#editor [name=expiry]", "3600");
    await page.click(save);
    await closed(page);
    assert.equal((await get(key)).value, "dots again");
    await page.locator("#pairs button").first().click();
    await page.waitForSelector("#editor[open]");
    await page.click("#editor [name=delete]");
    await page.click("#question [name=yes]");
    await closed(page);
    assert.equal((await ask(`/api/v1/key?key=${encodeURIComponent(key)}`)).status, 404);
  }
  for (const key of neighbours) {
    assert.equal((await get(key)).value, "neighbour");
    await ask(`/api/v1/key?key=${encodeURIComponent(key)}`, { method: "DELETE" });
  }

  // Line feeds in a key, and other ends of lines in a value, are not changed by looking at them.
  await put("two\nlines", "a\r\nb");
  await put("twolines", "a\r\nb");
  await search(page, "two\n".trim());
  await reads(page, "#found", "2 shown; these are all.");
  await page.locator("#pairs button", { hasText: /two\s+lines/ }).first().click();
  await page.waitForSelector("#editor[open]");
  assert.equal(await page.inputValue("#editor [name=view]"), "base64");
  await page.fill("#editor [name=expiry]", "3600");
  await page.click(save);
  await closed(page);
  assert.equal((await get("two\nlines")).value, "a\r\nb");
  assert((await get("two\nlines")).expires_at !== null);
  await page.locator("#pairs button", { hasText: /two\s+lines/ }).first().click();
  await page.waitForSelector("#editor[open]");
  await page.click("#editor [name=delete]");
  await page.click("#question [name=yes]");
  await closed(page);
  assert.equal((await ask("/api/v1/keys/two%0Alines")).status, 404);
  assert.equal((await get("twolines")).value, "a\r\nb");
  await ask("/delete/twolines", { method: "DELETE" });

  // A value that is too long for a browser: its beginning, and an expiry.
  await put("long", "x".repeat(2 << 20));
  await search(page, "long");
  await openPair(page, "long");
  await reads(page, "#editor-note", "2 MiB: too long to be edited here.");
  await page.fill("#editor [name=expiry]", "3600");
  await page.click(save);
  await closed(page);
  const long = await get("long");
  assert.equal(long.value.length, 2 << 20);
  assert(long.expires_at !== null);

  // A prefix deleted after being told how many keys that is.
  await search(page, "");
  await page.click("#delete-prefix");
  await reads(page, "#found", "Say first which");
  await search(page, "user:");
  await page.click("#delete-prefix");
  await reads(page, "#question-text", 'Delete 121 keys that begin with "user:"? They cannot be brought back.');
  await page.click("#question [value=no]");
  assert.equal((await ask("/api/v1/count?prefix=user:")).body.keys, 121);
  await page.click("#delete-prefix");
  await page.click("#question [name=yes]");
  await reads(page, "#found", "121 deleted. No key is like this.");
  assert.equal((await ask("/api/v1/count?prefix=user:")).body.keys, 0);
  assert.equal((await ask("/api/v1/count")).body.keys, 5);
  await page.click("#delete-prefix");
  await reads(page, "#found", 'No key begins with "user:".');

  // By the keyboard alone: from anywhere to the search, through it, to a pair.
  await page.locator("h1").click();
  await page.keyboard.press("/");
  await page.keyboard.type("production");
  await page.fill("#search [name=prefix]", "");
  await page.locator("#search [name=search]").press("Enter");
  await reads(page, "#found", "1 shown; these are all.");
  await page.locator("#pairs button").focus();
  await page.keyboard.press("Enter");
  await page.waitForSelector("#editor[open]");
  await page.keyboard.press("Escape");
  await closed(page);
});
