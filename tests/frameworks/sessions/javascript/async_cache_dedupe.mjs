// async-cache-dedupe: values in Redis; those that are invalidated by references need sets.
import assert from "node:assert/strict";
import { createCache } from "async-cache-dedupe";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const client = new Redis(process.env.REDIS_URL);
let calls = 0;
const make = () => createCache({ ttl: 60, storage: { type: "redis", options: { client } } }).define("user", async (id) => ({ id, n: ++calls })).define("short", { ttl: 1 }, async () => ++calls);
const [cache, elsewhere] = [make(), make()];
assert.deepEqual(await Promise.all([cache.user(1), cache.user(1)]), [{ id: 1, n: 1 }, { id: 1, n: 1 }]);
assert.deepEqual(await elsewhere.user(1), { id: 1, n: 1 });
await cache.clear("user", 1);
assert.deepEqual(await elsewhere.user(1), { id: 1, n: 2 });
const first = await cache.short();
await eventually(async () => (await cache.short()) > first, "an entry expires");
client.disconnect();
