// bullmq: a queue of jobs, which are hashes, lists and sorted sets.
import assert from "node:assert/strict";
import { Queue, QueueEvents, Worker } from "bullmq";

const connection = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const queue = new Queue("jobs", { connection });
queue.on("error", () => {});
const events = new QueueEvents("jobs", { connection });
await events.waitUntilReady();
const job = await queue.add("add", { a: 2, b: 3 });
new Worker("jobs", async ({ data }) => data.a + data.b, { connection });
assert.equal(await job.waitUntilFinished(events, 10000), 5);
process.exit(0);
