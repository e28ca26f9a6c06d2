// moleculer: two nodes that find each other over the Redis transporter; its cacher with locks, and clean.
import assert from "node:assert/strict";
import Redis from "ioredis";
import { ServiceBroker } from "moleculer";
import { eventually } from "./eventually.mjs";

const url = process.env.REDIS_URL;
let calls = 0;
const heard = [];
function broker(nodeID) {
  const cacher = { type: "Redis", options: { ttl: 100, prefix: "app", redis: `${url}/1` } };
  return new ServiceBroker({ nodeID, transporter: url, cacher, logger: false });
}
const [one, two] = [broker("one"), broker("two")];
two.createService({
  name: "math",
  actions: {
    double: {
      cache: { keys: ["n"], lock: { enabled: true } },
      async handler({ params }) {
        calls++;
        await new Promise((resolve) => setTimeout(resolve, 50));
        return 2 * params.n;
      },
    },
    fail() {
      throw new Error("on purpose");
    },
  },
});
one.createService({ name: "ear", events: { "news.*": ({ params }) => heard.push(params) } });
await Promise.all([one.start(), two.start()]);
await Promise.all([one.waitForServices("math"), two.waitForServices("ear")]);

const replies = await Promise.all([1, 2, 3].map(() => one.call("math.double", { n: 21 })));
assert.deepEqual([replies, calls], [[42, 42, 42], 1]);
const db = new Redis(`${url}/1`);
const [key] = await db.keys("*math.double*");
assert.ok((await db.ttl(key)) > 90);
await assert.rejects(one.call("math.fail"), /on purpose/);
await two.cacher.clean("math.**");
assert.deepEqual([await db.keys("*math.double*"), await one.call("math.double", { n: 21 }), calls], [[], 42, 2]);
two.broadcast("news.today", "hello");
await eventually(() => heard.includes("hello"), "an event of the other node");
await two.stop();
await eventually(() => !one.registry.nodes.get("two").available, "a node says that it leaves");
await one.stop();
db.disconnect();
