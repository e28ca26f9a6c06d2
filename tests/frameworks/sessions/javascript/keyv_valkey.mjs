// @keyv/valkey: set, get, ttl, many, clear, without sets (useRedisSets: false).
import assert from "node:assert/strict";
import KeyvValkey from "@keyv/valkey";
import Keyv from "keyv";
import { eventually } from "./eventually.mjs";

const url = process.env.REDIS_URL;
const keyv = new Keyv({ store: new KeyvValkey(url, { useRedisSets: false }), namespace: "app" });
const other = new Keyv({ store: new KeyvValkey(url, { useRedisSets: false }), namespace: "other" });
await keyv.set("a", { x: [1] }, 100000);
await other.set("a", "of another");
assert.deepEqual([await keyv.get("a"), await other.get("a"), await keyv.get("none"), await keyv.has("a")], [{ x: [1] }, "of another", undefined, true]);
await keyv.setMany([{ key: "b", value: 2 }, { key: "c", value: 3 }]);
assert.deepEqual(await keyv.getMany(["b", "c", "none"]), [2, 3, undefined]);
await keyv.set("short", 1, 100);
await eventually(async () => (await keyv.get("short")) === undefined, "an entry expires");
assert.deepEqual([await keyv.delete("b"), await keyv.delete("none"), await keyv.has("b")], [true, false, false]);
await keyv.clear();
assert.deepEqual([await keyv.get("a"), await other.get("a")], [undefined, "of another"]);
await keyv.disconnect();
await other.disconnect();
