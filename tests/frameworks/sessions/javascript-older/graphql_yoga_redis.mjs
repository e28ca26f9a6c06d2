// @graphql-yoga/redis-event-target: events of one process that the listeners of another hear, until they stop.
import assert from "node:assert/strict";
import { createRedisEventTarget } from "@graphql-yoga/redis-event-target";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const clients = Array.from({ length: 4 }, () => new Redis(process.env.REDIS_URL));
const [one, two] = [0, 2].map((n) => createRedisEventTarget({ publishClient: clients[n], subscribeClient: clients[n + 1] }));
const heard = [];
const listener = (event) => heard.push(event.detail.n);
two.addEventListener("news", listener);
await eventually(() => {
  one.dispatchEvent(new CustomEvent("news", { detail: { n: 1 } }));
  return heard.length > 0;
}, "an event of the other process");
assert.equal(heard[0], 1);
two.removeEventListener("news", listener);
await eventually(async () => (await clients[0].pubsub("NUMSUB", "news"))[1] === 0, "nobody listens");
for (const client of clients) client.disconnect();
