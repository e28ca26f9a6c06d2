// bottleneck: a limiter in a cluster, which it keeps in hashes and sorted sets.
import assert from "node:assert/strict";
import Bottleneck from "bottleneck";
import Redis from "ioredis";

const limiter = new Bottleneck({ id: "app", datastore: "ioredis", Redis, clientOptions: { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT) }, maxConcurrent: 1 });
await limiter.ready();
assert.equal(await limiter.schedule(async () => 5), 5);
await limiter.disconnect();
