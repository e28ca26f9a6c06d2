// cache-manager: wrap, ttl, many, two layers of which Redis is the second.
import assert from "node:assert/strict";
import KeyvRedis from "@keyv/redis";
import { createCache } from "cache-manager";
import Keyv from "keyv";
import { eventually } from "./eventually.mjs";

const redis = () => new Keyv({ store: new KeyvRedis(process.env.REDIS_URL), namespace: "app" });
const [one, two] = [redis(), redis()];
const cache = createCache({ stores: [new Keyv(), one] });
const elsewhere = createCache({ stores: [two] });
let calls = 0;
const compute = async () => ({ n: ++calls });

assert.deepEqual([await cache.wrap("a", compute, 60000), await cache.wrap("a", compute, 60000)], [{ n: 1 }, { n: 1 }]);
assert.deepEqual(await elsewhere.wrap("a", compute, 60000), { n: 1 });
await cache.mset([{ key: "b", value: 2 }, { key: "c", value: 3, ttl: 60000 }]);
assert.deepEqual(await elsewhere.mget(["b", "c", "none"]), [2, 3, undefined]);
assert.ok((await elsewhere.ttl("c")) > Date.now());
await elsewhere.set("short", 1, 100);
await eventually(async () => (await elsewhere.get("short")) === undefined, "an entry expires");
await cache.del("a");
assert.equal(await elsewhere.get("a"), undefined);
await cache.clear();
assert.equal(await elsewhere.get("b"), undefined);
await one.disconnect();
await two.disconnect();
