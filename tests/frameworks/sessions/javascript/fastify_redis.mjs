// @fastify/rate-limit: a Fastify application with @fastify/redis, limits, bans.
import assert from "node:assert/strict";
import rateLimit from "@fastify/rate-limit";
import redis from "@fastify/redis";
import Fastify from "fastify";
import { eventually } from "./eventually.mjs";

const app = Fastify();
await app.register(redis, { url: process.env.REDIS_URL, namespace: "app", keyPrefix: "app:" });
await app.register(rateLimit, { global: false, redis: app.redis.app, nameSpace: "limit:" });
app.get("/few", { config: { rateLimit: { max: 2, timeWindow: "1 minute", ban: 1 } } }, async () => "ok");
app.get("/soon", { config: { rateLimit: { max: 1, timeWindow: 300 } } }, async () => "ok");
app.get("/growing", { config: { rateLimit: { max: 1, timeWindow: 60000, exponentialBackoff: true } } }, async () => "ok");
app.get("/count", async () => app.redis.app.incr("count"));

const get = async (url, ip = "10.0.0.1") => app.inject({ url, remoteAddress: ip });
const replies = [await get("/few"), await get("/few"), await get("/few"), await get("/few")];
assert.deepEqual(replies.map(({ statusCode }) => statusCode), [200, 200, 429, 403]);
assert.deepEqual(replies.slice(0, 3).map(({ headers }) => headers["x-ratelimit-remaining"]), ["1", "0", "0"]);
assert.equal((await get("/few", "10.0.0.2")).statusCode, 200);
await eventually(async () => (await get("/soon")).statusCode === 429, "refused");
await eventually(async () => (await get("/soon")).statusCode === 200, "allowed after the window");
assert.deepEqual([(await get("/growing")).statusCode, (await get("/growing")).statusCode], [200, 429]);
assert.deepEqual([(await get("/count")).body, (await get("/count")).body, await app.redis.app.get("count")], ["1", "2", "2"]);
await app.close();
