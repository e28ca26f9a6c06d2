// bentocache: two layers with a bus: getOrSet, tags, namespaces, invalidation of the other process.
import assert from "node:assert/strict";
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { redisBusDriver, redisDriver } from "bentocache/drivers/redis";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const connection = () => new Redis(process.env.REDIS_URL);
const make = () => new BentoCache({
  default: "app",
  prefix: "app",
  stores: {
    app: bentostore()
      .useL1Layer(memoryDriver())
      .useL2Layer(redisDriver({ connection: connection() }))
      .useBus(redisBusDriver({ connection: { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT) } })),
  },
});
const [one, two] = [make(), make()];
let calls = 0;
const options = { key: "slow", ttl: "1h", tags: ["slow"], factory: async () => ({ call: ++calls }) };
const all = await Promise.all([one.getOrSet(options), one.getOrSet(options), one.getOrSet(options)]);
assert.deepEqual([all[2], await two.getOrSet(options)], [{ call: 1 }, { call: 1 }]);
const db = connection();
await eventually(async () => (await db.pubsub("CHANNELS")).length > 0, "the bus subscribes");
await eventually(async () => {
  // The other process hears of it.
  await one.set({ key: "slow", value: { call: "set" } });
  return (await two.get({ key: "slow" })).call === "set";
}, "a change of the other process is seen");
await one.deleteByTag({ tags: ["slow"] });
await one.set({ key: "short", value: 1, ttl: 100 });
await eventually(async () => (await two.get({ key: "short" })) === undefined, "an entry expires");
const users = one.namespace("users");
await users.set({ key: "1", value: "Ada" });
await one.set({ key: "kept", value: 1 });
await users.clear();
assert.deepEqual([await users.get({ key: "1" }), await one.get({ key: "kept" })], [undefined, 1]);
await one.delete({ key: "kept" });
assert.equal(await one.has({ key: "kept" }), false);
process.exit(0);
