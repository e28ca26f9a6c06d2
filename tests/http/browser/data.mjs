// Import, export, Seed and Clear; the file of 222,583 pairs lies in the folder.
import { readFile, writeFile } from "node:fs/promises";
import { gunzipSync, gzipSync } from "node:zlib";

import { ask, assert, browse, folder, get, open, put, reads } from "./session.mjs";

await browse(async (browser) => {
  const page = await open(browser, "data", { acceptDownloads: true });

  await page.click("#seed");
  await reads(page, "#done", "Ten pairs are stored.");
  const sample = (await ask("/all")).body;
  assert.equal(Object.keys(sample).length, 10);
  assert.equal(sample["user:101:name"], "Alice Johnson");
  assert.equal(sample["cache:profile"], "{json...}");

  // Export, whole and of a prefix, with an expiry.
  await put("session:7", { value: "Ada", expires_at: "2100-01-01T00:00:00Z" });
  const download = async () => {
    const waiting = page.waitForEvent("download");
    await page.click("#export");
    return JSON.parse(await readFile(await (await waiting).path(), "utf8"));
  };
  const whole = await download();
  assert.deepEqual(whole, { ...sample, "session:7": { $text: "Ada", $expires_at: "2100-01-01T00:00:00.000Z" } });
  await page.fill("#export-prefix", "user:101:");
  assert.deepEqual(await download(), { "user:101:name": "Alice Johnson", "user:101:role": "Admin" });

  // Clear asks, with the number, for a word.
  await page.click("#clear");
  await reads(page, "#question-text", "Delete every key? There are 11");
  assert.equal(await page.isDisabled("#question [name=yes]"), true);
  await page.fill("#question [name=word]", "clear");
  assert.equal(await page.isDisabled("#question [name=yes]"), true);
  await page.keyboard.press("Escape");
  await reads(page, "#done", "Nothing was deleted.");
  assert.equal((await ask("/api/v1/count")).body.keys, 11);
  await page.click("#clear");
  await page.fill("#question [name=word]", "CLEAR");
  await page.click("#question [name=yes]");
  await reads(page, "#done", "Every key is deleted.");
  assert.equal((await ask("/api/v1/count")).body.keys, 0);

  // What was exported goes in again, dropped onto the page.
  const drop = async (name, bytes, target) => {
    const transfer = await page.evaluateHandle(([name, base64]) => {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name));
      return transfer;
    }, [name, bytes.toString("base64")]);
    await page.dispatchEvent(target, "dragover", { dataTransfer: transfer });
    await page.dispatchEvent(target, "drop", { dataTransfer: transfer });
  };
  await drop("pairs.json", Buffer.from(JSON.stringify(whole)), "#drop");
  await reads(page, "#imported", "11 pairs of pairs.json are stored.");
  assert.equal((await get("session:7")).expires_at, "2100-01-01T00:00:00.000Z");
  await drop("broken.json", Buffer.from('{"a": "1",\n"b": }'), "#drop");
  await reads(page, "#imported", /the file cannot be read: expected value at line 2 column 6; pairs that were stored before: 1/);
  await drop("elsewhere.json", Buffer.from('{"elsewhere": "1"}'), "#export");
  assert.equal((await ask("/get/elsewhere")).status, 404);

  // A long file, gzipped, chosen.
  const cities = await readFile(`${folder}/cities.json`);
  await writeFile(`${folder}/cities.json.gz`, gzipSync(cities));
  await page.setInputFiles("#file", `${folder}/cities.json.gz`);
  await reads(page, "#imported", "222,583 pairs of cities.json.gz are stored.");
  assert.equal((await ask("/api/v1/count?prefix=city:")).body.keys, 222_583);

  // The explorer is as quick with it.
  await page.click('nav a[href="#explorer"]');
  await reads(page, "#found", /^50 shown/);
  await page.fill("#search [name=search]", "town 222581 ");
  await page.click("#search button:not([type])");
  await reads(page, "#found", "1 shown; these are all.");
  await reads(page, "#tree", "city: 222,583");
  assert.equal(gunzipSync(await readFile(`${folder}/cities.json.gz`)).length, cities.length);
});
