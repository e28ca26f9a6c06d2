// In: the class of ioredis, or that of iovalkey, which comes of it. Out: it has done what its users do with it, or an AssertionError says what not.
import assert from "node:assert/strict";

export async function session(Redis) {
  const url = process.env.REDIS_URL;
  const db = new Redis(url);
  assert.equal(await db.set("name", "Ada", "EX", 100, "NX"), "OK");
  assert.equal(await db.set("name", "Bob", "NX"), null);
  assert.deepEqual([await db.get("name"), (await db.ttl("name")) > 90], ["Ada", true]);
  const replies = await db.pipeline().set("n", 1).incr("n").incr("name").get("n").exec();
  assert.deepEqual(replies.map(([error, reply]) => (error ? "error" : reply)), ["OK", 2, "error", "2"]);
  assert.deepEqual(await db.multi().mset({ a: 1, b: 2 }).mget("a", "b", "none").exec(), [[null, "OK"], [null, ["1", "2", null]]]);

  const other = new Redis(url);
  await db.watch("a");
  await other.set("a", 10);
  assert.equal(await db.multi().incr("a").exec(), null);

  db.defineCommand("add", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  assert.deepEqual([await db.add("sum", 2), await db.add("sum", 3)], [2, 5]);
  await db.script("FLUSH");
  assert.equal(await db.add("sum", 1), 6);
  assert.deepEqual(await db.pipeline().add("sum", 1).add("sum", 1).exec(), [[null, 7], [null, 8]]);

  const prefixed = new Redis(url, { keyPrefix: "app:", db: 3 });
  await prefixed.set("k", Buffer.from([0, 255]));
  assert.deepEqual([await prefixed.getBuffer("k"), await db.exists("app:k"), await prefixed.keys("*")], [Buffer.from([0, 255]), 0, ["app:k"]]);

  const found = [];
  for await (const keys of db.scanStream({ match: "n*", count: 2 })) found.push(...keys);
  assert.deepEqual([...new Set(found)].sort(), ["n", "name"]);

  const message = new Promise((resolve) => other.on("pmessage", (pattern, channel, text) => resolve([pattern, channel, text])));
  await other.psubscribe("ne*");
  assert.equal(await db.publish("news", "hello"), 1);
  assert.deepEqual(await message, ["ne*", "news", "hello"]);
  for (const client of [db, other, prefixed]) client.disconnect();
}
