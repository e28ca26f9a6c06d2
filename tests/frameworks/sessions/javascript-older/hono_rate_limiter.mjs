// hono-rate-limiter: a Hono application with RedisStore.
import assert from "node:assert/strict";
import { Hono } from "hono";
import { RedisStore, rateLimiter } from "hono-rate-limiter";
import { createClient } from "redis";
import { eventually } from "./eventually.mjs";

const db = await createClient({ url: process.env.REDIS_URL }).connect();
const client = {
  scriptLoad: (script) => db.scriptLoad(script),
  evalsha: (sha, keys, words) => db.evalSha(sha, { keys, arguments: words.map(String) }),
  decr: (key) => db.decr(key),
  del: (key) => db.del(key),
};
const app = new Hono();
for (const [path, windowMs, limit] of [["/few", 60000, 3], ["/soon", 300, 1]]) {
  app.use(path, rateLimiter({ windowMs, limit, keyGenerator: (context) => path + context.req.header("user"), store: new RedisStore({ client }) }));
  app.get(path, (context) => context.text("ok"));
}
const get = async (path, user = "ada") => (await app.request(path, { headers: { user } })).status;
assert.deepEqual([await get("/few"), await get("/few"), await get("/few"), await get("/few"), await get("/few", "bob")], [200, 200, 200, 429, 200]);
await eventually(async () => (await get("/soon")) === 429, "refused");
await eventually(async () => (await get("/soon")) === 200, "allowed after the window");
await db.disconnect();
