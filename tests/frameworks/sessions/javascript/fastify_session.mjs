// @fastify/session: sessions of a Fastify application in the store of connect-redis.
import assert from "node:assert/strict";
import cookie from "@fastify/cookie";
import session from "@fastify/session";
import { RedisStore } from "connect-redis";
import Fastify from "fastify";
import { createClient } from "redis";
import { eventually } from "./eventually.mjs";

const db = await createClient({ url: process.env.REDIS_URL }).connect();
const app = Fastify();
await app.register(cookie);
await app.register(session, { secret: "a secret of thirty-two letters or more", cookie: { secure: false, maxAge: 100000 }, store: new RedisStore({ client: db }) });
app.get("/visit", async (request) => String((request.session.visits = (request.session.visits ?? 0) + 1)));
app.get("/leave", async (request) => (await request.session.destroy(), "left"));

let sent = {};
async function get(url) {
  const reply = await app.inject({ url, cookies: sent });
  for (const { name, value } of reply.cookies) sent = { [name]: value };
  return reply.body;
}
assert.deepEqual([await get("/visit"), await get("/visit"), await get("/visit")], ["1", "2", "3"]);
const [key] = await db.keys("sess:*");
assert.ok((await db.ttl(key)) > 90);
await db.pExpire(key, 50);
await eventually(async () => (await db.exists(key)) === 0, "a session expires");
assert.deepEqual([await get("/visit"), await get("/visit"), await get("/leave")], ["1", "2", "left"]);
assert.deepEqual(await db.keys("sess:*"), []);
await app.close();
db.destroy();
