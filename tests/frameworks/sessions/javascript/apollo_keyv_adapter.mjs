// @apollo/utils.keyvadapter: the cache of Apollo Server: set, get, ttl, delete.
import assert from "node:assert/strict";
import { KeyvAdapter } from "@apollo/utils.keyvadapter";
import KeyvRedis from "@keyv/redis";
import Keyv from "keyv";
import { eventually } from "./eventually.mjs";

const keyv = new Keyv({ store: new KeyvRedis(process.env.REDIS_URL) });
const cache = new KeyvAdapter(keyv);
await cache.set("apq:1", "{ hello }");
await cache.set("apq:2", "{ world }", { ttl: 1 });
assert.deepEqual(await Promise.all(["apq:1", "apq:2", "apq:3"].map((key) => cache.get(key))), ["{ hello }", "{ world }", undefined]);
await eventually(async () => (await cache.get("apq:2")) === undefined, "an entry expires");
await cache.delete("apq:1");
assert.equal(await cache.get("apq:1"), undefined);
await keyv.disconnect();
