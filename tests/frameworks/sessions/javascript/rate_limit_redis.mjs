// rate-limit-redis: express-rate-limit with the store in Redis.
import assert from "node:assert/strict";
import express from "express";
import { rateLimit } from "express-rate-limit";
import { RedisStore } from "rate-limit-redis";
import { createClient } from "redis";
import { eventually } from "./eventually.mjs";

const db = await createClient({ url: process.env.REDIS_URL }).connect();
const limit = (prefix, options) => rateLimit({ ...options, standardHeaders: "draft-6", store: new RedisStore({ prefix, sendCommand: (...words) => db.sendCommand(words) }) });
const app = express();
const few = limit("few:", { windowMs: 60000, limit: 3 });
app.get("/few", few, (request, response) => response.send("ok"));
app.get("/soon", limit("soon:", { windowMs: 300, limit: 1 }), (request, response) => response.send("ok"));
const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const get = (path) => fetch(`http://127.0.0.1:${server.address().port}${path}`);

const replies = [];
for (let n = 0; n < 4; n++) replies.push(await get("/few"));
assert.deepEqual(replies.map(({ status }) => status), [200, 200, 200, 429]);
assert.deepEqual(replies.map(({ headers }) => headers.get("ratelimit-remaining")), ["2", "1", "0", "0"]);
await few.resetKey("127.0.0.1");
assert.equal((await get("/few")).status, 200);
await eventually(async () => (await get("/soon")).status === 429, "refused");
await eventually(async () => (await get("/soon")).status === 200, "allowed after the window");
server.close();
server.closeAllConnections();
db.destroy();
