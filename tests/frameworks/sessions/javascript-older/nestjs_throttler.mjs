// @nest-lab/throttler-storage-redis: the storage of NestJS's throttler: counts, refuses, blocks, expires.
import assert from "node:assert/strict";
import "reflect-metadata";
import { ThrottlerStorageRedisService } from "@nest-lab/throttler-storage-redis";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const db = new Redis(process.env.REDIS_URL);
const storage = new ThrottlerStorageRedisService(db);
const hit = () => storage.increment("user", 300, 2, 300, "default");
const hits = [await hit(), await hit(), await hit()];
assert.deepEqual(hits.map(({ totalHits, isBlocked }) => [totalHits, isBlocked]), [[1, false], [2, false], [3, true]]);
// A request while it is blocked counts: it is asked for when both have expired.
await eventually(async () => (await db.dbsize()) === 0, "the count and the block expire");
assert.equal((await hit()).totalHits, 1);
assert.equal((await storage.increment("another", 60000, 2, 200, "default")).totalHits, 1);
db.disconnect();
