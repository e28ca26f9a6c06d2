// async-ratelimiter: a sliding window.
import assert from "node:assert/strict";
import RateLimiter from "async-ratelimiter";
import Redis from "ioredis";

const db = new Redis(process.env.REDIS_URL);
const limiter = new RateLimiter({ db, max: 2, duration: 60000 });
const states = [];
for (let n = 0; n < 3; n++) states.push((await limiter.get({ id: "user" })).remaining);
assert.deepEqual(states, [2, 1, 0]);
assert.equal((await limiter.get({ id: "another" })).remaining, 2);
db.disconnect();
