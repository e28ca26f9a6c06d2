// redis: its client-side cache over RESP3.
import assert from "node:assert/strict";
import { BasicClientSideCache, createClient } from "redis";
import { eventually } from "./eventually.mjs";

const url = process.env.REDIS_URL;
const cache = new BasicClientSideCache({ ttl: 0, maxEntries: 100, evictPolicy: "LRU", recordStats: true });
const db = await createClient({ url, RESP: 3, clientSideCache: cache }).connect();
const writer = await createClient({ url }).connect();

await writer.mSet({ a: "1", b: "2" });
assert.deepEqual([await db.get("a"), await db.get("a"), await db.get("b")], ["1", "1", "2"]);
assert.ok(cache.stats().hitCount >= 1);
await writer.set("a", "changed");
await eventually(async () => (await db.get("a")) === "changed", "a change is seen");
await writer.del("b");
await eventually(async () => (await db.get("b")) === null, "a deletion is seen");
await writer.set("short", "1", { PX: 50 });
await db.get("short");
await eventually(async () => (await db.get("short")) === null, "an expiry is seen");
await db.get("a");
await writer.flushAll();
await eventually(async () => (await db.get("a")) === null, "FLUSHALL is seen");
db.destroy();
writer.destroy();
