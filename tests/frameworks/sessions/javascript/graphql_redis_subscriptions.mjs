// graphql-redis-subscriptions: publish to subscribers and iterators, by name and by pattern.
import assert from "node:assert/strict";
import { RedisPubSub } from "graphql-redis-subscriptions";
import Redis from "ioredis";
import { eventually } from "./eventually.mjs";

const client = () => new Redis(process.env.REDIS_URL);
const pubsub = new RedisPubSub({ publisher: client(), subscriber: client() });
const heard = [];
const id = await pubsub.subscribe("posts", (message) => heard.push(message));
await pubsub.subscribe("post*", (message) => heard.push(["pattern", message]), { pattern: true });
await pubsub.publish("posts", { n: 1 });
await eventually(() => heard.length === 2, "both subscribers hear it");
assert.deepEqual(heard.sort((a) => (Array.isArray(a) ? 1 : -1)), [{ n: 1 }, ["pattern", { n: 1 }]]);
const iterator = pubsub.asyncIterator("comments");
const next = iterator.next();
await eventually(async () => (await client().pubsub("NUMSUB", "comments"))[1] === 1, "the iterator subscribes");
await pubsub.publish("comments", { text: "hello" });
assert.deepEqual(await next, { value: { text: "hello" }, done: false });
pubsub.unsubscribe(id);
await pubsub.close();
process.exit(0);
