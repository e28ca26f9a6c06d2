// @type-cacheable/ioredis-adapter: set, get, keys, delete.
import assert from "node:assert/strict";
import { useAdapter } from "@type-cacheable/ioredis-adapter";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const db = new Redis(process.env.REDIS_URL);
const adapter = useAdapter(db);
await adapter.set("user:1", { name: "Ada" }, 100);
await adapter.set("user:2", "Bob");
await adapter.set("short", 1, 1);
assert.deepEqual([await adapter.get("user:1"), await adapter.get("user:2"), (await db.ttl("user:1")) > 90], [{ name: "Ada" }, "Bob", true]);
assert.deepEqual((await adapter.keys("user:*")).sort(), ["user:1", "user:2"]);
await eventually(async () => !(await adapter.get("short")), "an entry expires");
await adapter.del(["user:1", "user:2"]);
assert.deepEqual(await adapter.keys("*"), []);
db.disconnect();
