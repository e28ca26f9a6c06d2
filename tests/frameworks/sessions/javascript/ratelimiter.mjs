// ratelimiter: a sliding window, which it keeps in a sorted set.
import assert from "node:assert/strict";
import { promisify } from "node:util";
import Redis from "ioredis";
import Limiter from "ratelimiter";

const db = new Redis(process.env.REDIS_URL);
const limiter = new Limiter({ db, id: "user", max: 2, duration: 60000 });
const get = promisify(limiter.get.bind(limiter));
assert.deepEqual([(await get()).remaining, (await get()).remaining, (await get()).remaining], [2, 1, 0]);
db.disconnect();
