// unstorage: the storage of Nitro and Nuxt: items, ttl, keys, metadata, clear.
import assert from "node:assert/strict";
import { createStorage } from "unstorage";
import redisDriver from "unstorage/drivers/redis";
import { eventually } from "./eventually.mjs";

const storage = createStorage({ driver: redisDriver({ base: "app", url: process.env.REDIS_URL }) });
await storage.setItem("user:1", { name: "Ada" });
await storage.setItem("short", 1, { ttl: 1 });
assert.deepEqual([await storage.getItem("user:1"), await storage.hasItem("user:1"), await storage.getItem("none")], [{ name: "Ada" }, true, null]);
await storage.setItems([{ key: "user:2", value: "Bob" }, { key: "raw", value: "x" }]);
assert.deepEqual((await storage.getKeys("user")).sort(), ["user:1", "user:2"]);
assert.deepEqual((await storage.getItems(["user:2", "raw"])).map(({ value }) => value), ["Bob", "x"]);
await storage.setItemRaw("bytes", Buffer.from([0, 255]));
assert.deepEqual(Buffer.from(await storage.getItemRaw("bytes")), Buffer.from([0, 255]));
await eventually(async () => (await storage.getItem("short")) === null, "an item expires");
await storage.removeItem("user:1");
assert.equal(await storage.hasItem("user:1"), false);
await storage.clear();
assert.deepEqual(await storage.getKeys(), []);
await storage.dispose();
