// redis-semaphore: Semaphore, which it keeps in a sorted set.
import assert from "node:assert/strict";
import Redis from "ioredis";
import { Semaphore } from "redis-semaphore";

const db = new Redis(process.env.REDIS_URL);
const [one, two, three] = [1, 2, 3].map(() => new Semaphore(db, "jobs", 2));
assert.deepEqual([await one.tryAcquire(), await two.tryAcquire(), await three.tryAcquire()], [true, true, false]);
await Promise.all([one.release(), two.release()]);
db.disconnect();
