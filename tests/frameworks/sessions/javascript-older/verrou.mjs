// @verrou/core: locks: acquire, refuse, extend, restore, run, expiry.
import assert from "node:assert/strict";
import { Verrou } from "@verrou/core";
import { redisStore } from "@verrou/core/drivers/redis";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const connection = new Redis(process.env.REDIS_URL);
const verrou = new Verrou({ default: "redis", stores: { redis: { driver: redisStore({ connection }) } } });
const [mine, other] = [verrou.createLock("job", 30000), verrou.createLock("job", 30000)];
assert.deepEqual([await mine.acquireImmediately(), await other.acquireImmediately()], [true, false]);
await mine.extend("60s");
assert.ok((await connection.pttl("job")) > 50000 && (await mine.isLocked()));
await assert.rejects(other.release(), { code: "E_LOCK_NOT_OWNED" });
await verrou.restoreLock(mine.serialize()).release();
assert.deepEqual(await other.run(async () => "done"), [true, "done"]);
assert.equal(await verrou.createLock("short", 100).acquireImmediately(), true);
await eventually(() => verrou.createLock("short", 100).acquireImmediately(), "a lock expires");
connection.disconnect();
