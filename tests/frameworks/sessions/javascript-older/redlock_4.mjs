// redlock: acquire, refuse, extend, unlock, expiry.
import assert from "node:assert/strict";
import Redis from "ioredis";
import Redlock from "redlock";
import { eventually } from "./eventually.mjs";

const db = new Redis(process.env.REDIS_URL);
const redlock = new Redlock([db], { retryCount: 1, retryDelay: 20 });
let lock = await redlock.lock("job", 30000);
await assert.rejects(redlock.lock("job", 1000), Redlock.LockError);
lock = await lock.extend(60000);
assert.ok((await db.pttl("job")) > 50000);
await lock.unlock();
await assert.rejects(lock.unlock(), Redlock.LockError);
await redlock.lock(["a", "b"], 100);
await eventually(() => redlock.lock(["b", "c"], 1000).catch(() => null), "a lock expires");
db.disconnect();
