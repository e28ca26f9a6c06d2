// koa-redis: sessions of a Koa application: written, read, destroyed.
import assert from "node:assert/strict";
import Koa from "koa";
import redisStore from "koa-redis";
import session from "koa-session";

const store = redisStore({ url: process.env.REDIS_URL });
const app = new Koa();
app.keys = ["secret"];
app.use((session.default ?? session)({ store, maxAge: 100000 }, app));
app.use((context) => {
  if (context.path === "/leave") context.session = null;
  else context.session.visits = (context.session.visits ?? 0) + 1;
  context.body = String(context.session?.visits ?? "left");
});
const server = app.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
let cookie = "";
async function get(path) {
  const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: { cookie } });
  cookie = response.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ") || cookie;
  return response.text();
}
assert.deepEqual([await get("/visit"), await get("/visit"), await get("/visit")], ["1", "2", "3"]);
const keys = await store.client.keys("*");
assert.ok(keys.length === 1 && (await store.client.pttl(keys[0])) > 90000);
assert.equal(await get("/leave"), "left");
assert.deepEqual(await store.client.keys("*"), []);
assert.equal(await get("/visit"), "1");
process.exit(0);
