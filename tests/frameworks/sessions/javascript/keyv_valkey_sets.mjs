// @keyv/valkey: with a set of the names of keys, as it is without options.
import assert from "node:assert/strict";
import KeyvValkey from "@keyv/valkey";
import Keyv from "keyv";

const keyv = new Keyv({ store: new KeyvValkey(process.env.REDIS_URL), namespace: "app" });
await keyv.set("a", 1);
assert.equal(await keyv.get("a"), 1);
await keyv.disconnect();
