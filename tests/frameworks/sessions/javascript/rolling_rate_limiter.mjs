// rolling-rate-limiter: a rolling window, which it keeps in a sorted set.
import assert from "node:assert/strict";
import Redis from "ioredis";
import rolling from "rolling-rate-limiter";

const client = new Redis(process.env.REDIS_URL);
const limiter = new rolling.RedisRateLimiter({ client, namespace: "limit:", interval: 60000, maxInInterval: 2 });
assert.deepEqual([await limiter.limit("user"), await limiter.limit("user"), await limiter.limit("user")], [false, false, true]);
client.disconnect();
