// @sesamecare-oss/redlock: acquire, refuse, extend, release, using, expiry, several keys.
import assert from "node:assert/strict";
import { ExecutionError, Redlock } from "@sesamecare-oss/redlock";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const db = new Redis(process.env.REDIS_URL, { db: 1 });
const redlock = new Redlock([db], { db: 1, retryCount: 1, retryDelay: 20 });
let lock = await redlock.acquire(["a", "b"], 30000);
await assert.rejects(redlock.acquire(["b"], 1000), ExecutionError);
lock = await lock.extend(60000);
assert.ok((await db.pttl("a")) > 50000);
await lock.release();
await assert.rejects(lock.release(), ExecutionError);

let within = 0;
await Promise.all(
  [1, 2, 3].map(() =>
    redlock.using(["job"], 1000, { retryCount: 200 }, async (signal) => {
      assert.equal(++within, 1);
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert.equal(signal.aborted, false);
      within--;
    }),
  ),
);
await redlock.acquire(["short"], 100);
lock = await eventually(() => redlock.acquire(["short"], 1000).catch(() => null), "a lock expires");
await lock.release();
db.disconnect();
