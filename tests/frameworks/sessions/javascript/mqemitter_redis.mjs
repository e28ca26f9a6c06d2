// mqemitter-redis: topics with wildcards between two emitters.
import assert from "node:assert/strict";
import mqRedis from "mqemitter-redis";
import { eventually } from "./eventually.mjs";

const options = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT) };
const [one, two] = [mqRedis(options), mqRedis(options)];
const heard = [];
await new Promise((resolve) => one.on("sensors/+", (message, done) => (heard.push(message), done()), resolve));
two.emit({ topic: "sensors/kitchen", payload: "21" });
two.emit({ topic: "others", payload: "x" });
await eventually(() => heard.length > 0, "a message of the other emitter");
assert.deepEqual([heard.length, heard[0].topic, heard[0].payload], [1, "sensors/kitchen", "21"]);
process.exit(0);
