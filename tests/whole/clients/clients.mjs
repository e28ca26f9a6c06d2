// ioredis and node-redis, as their users use them: `clients.mjs MODULES CLIENT PROTOCOL PORT`.
// It prints `restart` and waits for a line: the server is started again on the same port meanwhile. Exit status 0: all held.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { createInterface } from "node:readline/promises";

const [modules, client, protocol, port] = process.argv.slice(2);
const load = createRequire(`${modules}/`);

const BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

/** Waits until something holds. */
async function eventually(holds, what) {
  for (const end = Date.now() + 10_000; !(await holds()); ) {
    assert(Date.now() < end, what);
    await new Promise((wake) => setTimeout(wake, 10));
  }
}

async function restarted() {
  console.log("restart");
  const input = createInterface({ input: process.stdin });
  await input[Symbol.asyncIterator]().next();
  input.close();
}

/** Notes what a listener is called with; `list.heard(n)` is the first n calls, once there are as many. */
function notes() {
  const list = [];
  const note = (...call) => list.push(call);
  note.heard = async (count) => {
    await eventually(() => list.length >= count, `only ${list.length} of ${count} messages`);
    return list;
  };
  return note;
}

async function ioredis() {
  const Redis = load("ioredis");
  const db = new Redis({ port: Number(port), protocol: Number(protocol), retryStrategy: () => 50 });
  db.on("error", () => {});
  await db.flushall();
  assert.equal(await db.set("name", "Ada"), "OK");
  assert.equal(await db.set("name", "Bob", "NX"), null);
  assert.equal(await db.set("name", "Ada", "XX", "EX", 50, "GET"), "Ada");
  assert.equal(await db.get("name"), "Ada");
  await db.set("bytes", BYTES);
  assert.deepEqual(await db.getBuffer("bytes"), BYTES);
  assert.equal(await db.incrby("count", 41), 41);
  await db.set("short", "x", "PX", 40);
  await eventually(async () => (await db.get("short")) === null, "it did not expire");
  assert.equal(await db.expire("name", 100), 1);
  assert((await db.ttl("name")) > 90);
  assert.equal(await db.persist("name"), 1);
  assert.equal(await db.ttl("name"), -1);
  const pipeline = db.pipeline();
  for (let n = 0; n < 3000; n++) pipeline.set(`n:${n}`, n);
  assert((await pipeline.exec()).every(([error, reply]) => !error && reply === "OK"));
  assert.deepEqual(await db.multi().incr("count").get("count").exec(), [[null, 42], [null, "42"]]);
  const other = db.duplicate();
  await other.watch("count");
  await db.incr("count");
  assert.equal(await other.multi().incr("count").exec(), null);
  const found = new Set();
  for await (const keys of db.scanStream({ match: "n:*", count: 50 })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 3000);
  const [message, patternMessage] = [notes(), notes()];
  other.on("message", message).on("pmessage", patternMessage);
  assert.equal(await other.subscribe("news", "weather"), 2);
  assert.equal(await other.psubscribe("n*"), 3);
  assert.equal(await db.publish("news", "hello"), 2);
  assert.deepEqual(await message.heard(1), [["news", "hello"]]);
  assert.deepEqual(await patternMessage.heard(1), [["n*", "news", "hello"]]);
  await other.unsubscribe("news", "weather");
  await other.punsubscribe("n*");
  assert.equal(await db.publish("news", "nobody hears it"), 0);
  assert.equal(await other.get("name"), "Ada");
  await other.quit();
  await assert.rejects(db.incr("name"), /ERR value is not an integer or out of range/);
  await assert.rejects(db.call("GET"), /ERR wrong number of arguments for 'get' command/);
  await assert.rejects(db.call("NOSUCH", 1), /ERR unknown command 'NOSUCH'/);
  assert.match(await db.info("server"), /redis_version:7/);
  assert.equal(await db.client("SETNAME", "tester"), "OK");
  assert.equal(await db.client("GETNAME"), "tester");
  assert.match(await db.client("LIST"), / name=tester /);
  await db.set("kept", "for ever");
  await restarted();
  assert.equal(await db.get("kept"), "for ever");
  await db.quit();
}

async function nodeRedis() {
  const { createClient, RESP_TYPES, WatchError } = load("redis");
  const db = createClient({ RESP: Number(protocol), socket: { port: Number(port), reconnectStrategy: 50 } });
  db.on("error", () => {});
  await db.connect();
  await db.flushAll();
  assert.equal(await db.set("name", "Ada"), "OK");
  assert.equal(await db.set("name", "Bob", { condition: "NX" }), null);
  const expiration = { type: "EX", value: 50 };
  assert.equal(await db.set("name", "Ada", { condition: "XX", GET: true, expiration }), "Ada");
  assert.equal(await db.get("name"), "Ada");
  await db.set("bytes", BYTES);
  assert.deepEqual(await db.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).get("bytes"), BYTES);
  assert.equal(await db.incrBy("count", 41), 41);
  assert.deepEqual(await db.mGet(["name", "nobody"]), ["Ada", null]);
  await db.set("short", "x", { expiration: { type: "PX", value: 40 } });
  await eventually(async () => (await db.get("short")) === null, "it did not expire");
  assert.equal(Number(await db.expire("name", 100)), 1);
  assert((await db.ttl("name")) > 90);
  assert.equal(Number(await db.persist("name")), 1);
  assert.equal(await db.ttl("name"), -1);
  const replies = await Promise.all(Array.from({ length: 3000 }, (_, n) => db.set(`n:${n}`, String(n))));
  assert(replies.every((reply) => reply === "OK"));
  assert.deepEqual(await db.multi().incr("count").get("count").exec(), [42, "42"]);
  const other = await db.duplicate().connect();
  await other.watch("count");
  await db.incr("count");
  await assert.rejects(other.multi().incr("count").exec(), WatchError);
  const found = new Set();
  for await (const keys of db.scanIterator({ MATCH: "n:*", COUNT: 50 })) [keys].flat().forEach((key) => found.add(key));
  assert.equal(found.size, 3000);
  const [message, patternMessage] = [notes(), notes()];
  await other.subscribe("news", message);
  await other.pSubscribe("n*", patternMessage);
  assert.equal(await db.publish("news", "hello"), 2);
  assert.deepEqual(await message.heard(1), [["hello", "news"]]);
  assert.deepEqual(await patternMessage.heard(1), [["hello", "news"]]);
  await other.unsubscribe("news");
  await other.pUnsubscribe("n*");
  assert.equal(await db.publish("news", "nobody hears it"), 0);
  assert.equal(await other.exists("name"), 1);
  await other.close();
  await assert.rejects(db.incr("name"), /ERR value is not an integer or out of range/);
  await assert.rejects(db.sendCommand(["GET"]), /ERR wrong number of arguments for 'get' command/);
  await assert.rejects(db.sendCommand(["NOSUCH", "1"]), /ERR unknown command 'NOSUCH'/);
  assert.match(await db.info(), /redis_version:7/);
  assert.equal(await db.clientSetName("tester"), "OK");
  assert.equal(await db.clientGetName(), "tester");
  assert((await db.clientList()).some(({ name, id }) => name === "tester" && id > 0));
  if (protocol === "3") await caching(createClient, db);
  await db.set("kept", "for ever");
  await restarted();
  assert.equal(await db.get("kept"), "for ever");
  await db.close();
}

// The copies in the client follow the changes: none comes back once a newer value was seen, also under load.
async function caching(createClient, db) {
  const cached = await createClient({
    RESP: 3,
    socket: { port: Number(port) },
    clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: "LRU" },
  }).connect();
  await db.set("cached", "0");
  let running = true;
  const changes = (async () => {
    for (let change = 0; change < 3000; change++) await db.incr("cached");
    running = false;
  })();
  let [seen, reads] = [0, 0];
  while (running) {
    const value = Number(await cached.get("cached"));
    assert(value >= seen, `${value} after ${seen}`);
    [seen, reads] = [value, reads + 1];
    if (reads % 10 === 0) await new Promise(setImmediate);
  }
  await changes;
  assert(reads > 100, `only ${reads} reads`);
  while ((await cached.get("cached")) !== "3000") await new Promise(setImmediate);
  await db.flushAll();
  while ((await cached.get("cached")) !== null) await new Promise(setImmediate);
  await cached.close();
}

setTimeout(() => {
  console.error("too slow");
  process.exit(1);
}, 60_000).unref();
await { ioredis, "node-redis": nodeRedis }[client]();
console.log(client, protocol, "ok");
process.exit(0);
