// redis: RESP3, pipelines, WATCH on an isolated client, scripts, databases, pub/sub.
import assert from "node:assert/strict";
import { createClient, createClientPool, defineScript, WatchError } from "redis";

const add = defineScript({
  SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  NUMBER_OF_KEYS: 1,
  parseCommand(parser, key, number) {
    parser.pushKey(key);
    parser.push(String(number));
  },
  transformReply: undefined,
});
const url = process.env.REDIS_URL;
const db = await createClient({ url, RESP: 3, scripts: { add } }).connect();
assert.equal(await db.set("name", "Ada", { EX: 100, NX: true }), "OK");
assert.deepEqual([await db.set("name", "Bob", { NX: true }), await db.get("name"), (await db.ttl("name")) > 90], [null, "Ada", true]);
assert.deepEqual(await Promise.all([db.incr("n"), db.incr("n"), db.get("n")]), [1, 2, "2"]);
assert.deepEqual(await db.multi().mSet({ a: "1", b: "2" }).mGet(["a", "b", "none"]).exec(), ["OK", ["1", "2", null]]);
assert.equal(await db.incrByFloat("a", 0.5), "1.5");

const pool = await createClientPool({ url }).connect();
await assert.rejects(
  pool.execute(async (client) => {
    await client.watch("b");
    await db.set("b", "9");
    return client.multi().set("b", "10").exec();
  }),
  WatchError,
);
assert.equal(await db.get("b"), "9");
assert.deepEqual([await db.add("sum", 2), await db.add("sum", 3)], [2, 5]);

const found = [];
for await (const keys of db.scanIterator({ MATCH: "n*" })) found.push(...keys);
assert.deepEqual(found.sort(), ["n", "name"]);

const second = await createClient({ url, database: 2 }).connect();
assert.deepEqual([await second.get("name"), await second.set("name", "Eve"), await db.get("name"), await second.dbSize()], [null, "OK", "Ada", 1]);

const listener = await db.duplicate().connect();
const message = new Promise((resolve) => listener.pSubscribe("ne*", (text, channel) => resolve([text, channel])).then(() => db.publish("news", "hello")));
assert.deepEqual(await message, ["hello", "news"]);
process.exit(0);
