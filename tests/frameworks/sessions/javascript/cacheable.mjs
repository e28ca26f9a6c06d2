// cacheable: two layers, wrap, many, ttl.
import assert from "node:assert/strict";
import KeyvRedis from "@keyv/redis";
import { Cacheable } from "cacheable";
import { eventually } from "./eventually.mjs";

const cache = new Cacheable({ secondary: new KeyvRedis(process.env.REDIS_URL), ttl: "1h" });
const elsewhere = new Cacheable({ secondary: new KeyvRedis(process.env.REDIS_URL) });
await cache.set("a", { x: 1 });
assert.deepEqual([await cache.get("a"), await elsewhere.get("a"), await elsewhere.has("a")], [{ x: 1 }, { x: 1 }, true]);
await cache.setMany([{ key: "b", value: 2 }, { key: "c", value: 3 }]);
assert.deepEqual(await elsewhere.getMany(["b", "c", "none"]), [2, 3, undefined]);
await cache.set("short", 1, 100);
await eventually(async () => (await elsewhere.get("short")) === undefined && (await cache.get("short")) === undefined, "an entry expires");
let calls = 0;
const wrapped = cache.wrap(async (n) => (calls++, n * 2), { ttl: "1h", keyPrefix: "double" });
assert.deepEqual([await wrapped(2), await wrapped(2), calls], [4, 4, 1]);
await cache.delete("b");
await cache.clear();
assert.equal(await cache.get("c"), undefined);
await cache.disconnect();
await elsewhere.disconnect();
