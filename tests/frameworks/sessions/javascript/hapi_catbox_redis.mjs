// @hapi/catbox-redis: a policy that generates, keeps, drops and lets expire.
import assert from "node:assert/strict";
import { Client, Policy } from "@hapi/catbox";
import { Engine } from "@hapi/catbox-redis";
import { eventually } from "./eventually.mjs";

const client = new Client(new Engine({ url: process.env.REDIS_URL, partition: "app" }));
await client.start();
let calls = 0;
const policy = new Policy({ expiresIn: 60000, generateTimeout: 5000, generateFunc: async (id) => ({ id, n: ++calls }) }, client, "users");
assert.deepEqual(await Promise.all([policy.get("ada"), policy.get("ada")]), [{ id: "ada", n: 1 }, { id: "ada", n: 1 }]);
assert.deepEqual(await policy.get("ada"), { id: "ada", n: 1 });
await policy.drop("ada");
assert.deepEqual(await policy.get("ada"), { id: "ada", n: 2 });
await policy.set("short", { x: 1 }, 100);
const short = { segment: "users", id: "short" };
await eventually(async () => (await client.get(short)) === null, "an entry expires");
await client.stop();
