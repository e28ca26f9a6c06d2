// @keyv/redis: set, get, ttl, many, namespaces, iterator, clear.
import assert from "node:assert/strict";
import KeyvRedis from "@keyv/redis";
import Keyv from "keyv";
import { eventually } from "./eventually.mjs";

const url = process.env.REDIS_URL;
const keyv = new Keyv({ store: new KeyvRedis(url), namespace: "app" });
const other = new Keyv({ store: new KeyvRedis(url), namespace: "other" });
await keyv.set("a", { x: [1] }, 100000);
await other.set("a", "of another");
assert.deepEqual([await keyv.get("a"), await other.get("a"), await keyv.get("none"), await keyv.has("a")], [{ x: [1] }, "of another", undefined, true]);
await keyv.setMany([{ key: "b", value: 2 }, { key: "c", value: 3 }]);
assert.deepEqual(await keyv.getMany(["b", "c", "none"]), [2, 3, undefined]);
const found = [];
for await (const [key] of keyv.iterator("app")) found.push(key);
assert.deepEqual(found.sort(), ["a", "b", "c"]);
await keyv.set("short", 1, 100);
await eventually(async () => (await keyv.get("short")) === undefined, "an entry expires");
assert.deepEqual([await keyv.delete("b"), await keyv.delete("none"), await keyv.has("b")], [true, false, false]);
await keyv.clear();
assert.deepEqual([await keyv.get("a"), await other.get("a")], [undefined, "of another"]);
await keyv.disconnect();
await other.disconnect();
