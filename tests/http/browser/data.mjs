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
  const yes = () => page.click("#question [name=yes]");
  await drop("pairs.json", Buffer.from(JSON.stringify(whole)), "#drop");
  await reads(page, "#imported", "11 pairs of pairs.json are stored.");
  assert.equal((await get("session:7")).expires_at, "2100-01-01T00:00:00.000Z");
  await drop("broken.json", Buffer.from('{"a": "1",\n"b": }'), "#drop");
  await yes();
  await reads(page, "#imported", /the file cannot be read: line 2, column 6: expected a value, found `}`; correct it and import it again; pairs that were stored before: 1/);
  await drop("elsewhere.json", Buffer.from('{"elsewhere": "1"}'), "#export");
  assert.equal((await ask("/get/elsewhere")).status, 404);

  // Each format, by its content; the server reads it, and what it says is shown.
  const rows = '{"key":"drop:1","value":"1"}\n{"key":"drop:2","value":{"$base64":"AP8="}}\n{"key":"drop:1","value":"3"}\n';
  const table = "key,value,encoding\ndrop:1,1,text\ndrop:2,AP8=,base64\n";
  for (const [name, bytes, text] of [
    ["rows.jsonl", Buffer.from(rows), /^3 pairs of rows.jsonl are stored; 1 pair was replaced by a later one of the same key, first "drop:1" \(lines 1 and 3\)\.$/],
    ["TABLE.CSV", Buffer.from(table), "2 pairs of TABLE.CSV are stored."],
    ["X.CSV.GZ", gzipSync(table), "2 pairs of X.CSV.GZ are stored."],
    ["table.json", Buffer.from(table), /^2 pairs of table.json are stored; read as CSV, which it is, whatever its name says\.$/],
  ]) {
    await ask("/api/v1/keys?prefix=drop:", { method: "DELETE" });
    await drop(name, bytes, "#drop");
    await yes();
    await reads(page, "#imported", text);
    assert.equal((await ask("/api/v1/count?prefix=drop:")).body.keys, 2);
    assert.deepEqual((await get("drop:2")).value, { $base64: "AP8=" });
  }
  assert.equal((await ask("/get/key")).status, 404);
  for (const [name, bytes, text] of [
    ["cut.csv", Buffer.from('key,value\ncut:1,1\ncut:2,"2'), /line 3, column 7: the quote that opens this cell is never closed.* stored before: 1$/],
    ["cut.jsonl", Buffer.from('{"key":"cut:1","value":"1"}\n{"key":"cut:2","val'), /line 2, column 16: the file ends within the string.* stored before: 1$/],
    ["picture.png", Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0]), /line 1, column 1: the file is no JSON object.* stored before: 0$/],
    ["empty.json", Buffer.alloc(0), /the file is empty.* stored before: 0$/],
    // Longer than the server reads before it says so.
    ["long.json", Buffer.concat([Buffer.from('{"cut:1": "1" "'), Buffer.alloc(8 << 20, 0x20)]), /line 1, column 15: expected `,` or `}`.* stored before: 1$/],
  ]) {
    await drop(name, bytes, "#drop");
    await yes();
    await reads(page, "#imported", text);
    assert.equal(await page.getAttribute("#imported", "class"), "note bad");
  }
  assert.equal((await ask("/api/v1/count?prefix=cut:")).body.keys, 1);
  await ask("/api/v1/keys?prefix=cut:", { method: "DELETE" });
  await page.check("#all-or-nothing");
  await drop("cut.csv", Buffer.from('key,value\ncut:1,1\ncut:2,"2'), "#drop");
  await yes();
  await reads(page, "#imported", /line 3, column 7: .* stored before: 0$/);
  assert.equal((await ask("/api/v1/count?prefix=cut:")).body.keys, 0);
  await drop("whole.csv", Buffer.from("key,value\ncut:1,1\n"), "#drop");
  await yes();
  await reads(page, "#imported", "1 pair of whole.csv is stored.");
  await page.uncheck("#all-or-nothing");
  await ask("/api/v1/keys?prefix=cut:", { method: "DELETE" });
  await ask("/api/v1/keys?prefix=drop:", { method: "DELETE" });

  // A long file, gzipped, chosen.
  const cities = await readFile(`${folder}/cities.json`);
  await writeFile(`${folder}/cities.json.gz`, gzipSync(cities));
  await page.setInputFiles("#file", `${folder}/cities.json.gz`);
  await yes();
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
