// redis-lock: eight that take turns, and a lock that expires.
import assert from "node:assert/strict";
import { createClient } from "redis";
import redisLock from "redis-lock";

const db = await createClient({ url: process.env.REDIS_URL }).connect();
const lock = redisLock(db, 5);
let within = 0;
const turn = async () => {
  const done = await lock("job", 10000);
  assert.equal(++within, 1);
  await db.incr("count");
  within--;
  await done();
};
await Promise.all(Array.from({ length: 8 }, turn));
assert.deepEqual([await db.get("count"), await db.exists("lock.job")], ["8", 0]);
await lock("job", 100);
await (await lock("job", 100))();
await db.disconnect();
