// connect-redis: sessions of an Express application: written, read, touched, destroyed, expired, listed.
import assert from "node:assert/strict";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { eventually } from "./eventually.mjs";

const db = await createClient({ url: process.env.REDIS_URL }).connect();
const store = new RedisStore({ client: db, prefix: "app:", ttl: 100 });
const app = express();
app.use(session({ store, secret: "secret", resave: false, saveUninitialized: false }));
app.get("/visit", (request, response) => response.send(String((request.session.visits = (request.session.visits ?? 0) + 1))));
app.get("/leave", (request, response) => request.session.destroy(() => response.send("left")));
const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));

let cookie = "";
async function get(path) {
  const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: { cookie } });
  cookie = response.headers.get("set-cookie")?.split(";")[0] ?? cookie;
  return response.text();
}
assert.deepEqual([await get("/visit"), await get("/visit"), await get("/visit")], ["1", "2", "3"]);
const [key] = await db.keys("app:*");
assert.ok((await db.ttl(key)) > 90);
assert.deepEqual([await store.length(), (await store.ids()).length, (await store.all())[0].visits], [1, 1, 3]);
await db.pExpire(key, 50);
await eventually(async () => (await db.exists(key)) === 0, "a session expires");
assert.deepEqual([await get("/visit"), await get("/visit"), await get("/leave")], ["1", "2", "left"]);
assert.deepEqual([await store.length(), await get("/visit")], [0, "1"]);
await store.clear();
assert.equal(await store.length(), 0);
server.close();
server.closeAllConnections();
db.destroy();
