// rate-limiter-flexible: consume, refuse, penalty, reward, block, delete, with ioredis and node-redis.
import assert from "node:assert/strict";
import Redis from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";
import { createClient } from "redis";
import { eventually } from "./eventually.mjs";

const io = new Redis(process.env.REDIS_URL, { enableOfflineQueue: false, lazyConnect: true });
await io.connect();
const node = await createClient({ url: process.env.REDIS_URL }).connect();
for (const [name, storeClient, useRedisPackage] of [["io", io, false], ["node", node, true]]) {
  const limiter = new RateLimiterRedis({ storeClient, useRedisPackage, keyPrefix: name, points: 3, duration: 60 });
  const results = await Promise.allSettled([1, 2, 3, 4].map(() => limiter.consume("user")));
  assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "fulfilled", "fulfilled", "rejected"], name);
  const refused = results[3].reason;
  assert.deepEqual([refused.remainingPoints, refused.consumedPoints, refused.msBeforeNext > 55000], [0, 4, true]);
  await limiter.reward("user", 2);
  assert.equal((await limiter.consume("user")).remainingPoints, 0);
  assert.equal((await limiter.penalty("new", 2)).consumedPoints, 2);
  await limiter.block("bad", 60);
  await assert.rejects(limiter.consume("bad"), (result) => result.msBeforeNext > 55000);
  assert.equal(await limiter.delete("user"), true);
  assert.equal(await limiter.get("user"), null);

  const soon = new RateLimiterRedis({ storeClient, useRedisPackage, keyPrefix: `${name}:soon`, points: 1, duration: 1, blockDuration: 1 });
  await soon.consume("user");
  await assert.rejects(soon.consume("user"), (result) => result.msBeforeNext > 0);
  await eventually(() => soon.consume("user").then(() => true, () => false), "allowed after the window");
}
io.disconnect();
node.destroy();
