// resumable-stream: a stream that a second reader resumes.
import assert from "node:assert/strict";
import { createResumableStreamContext } from "resumable-stream";
import { createClient } from "redis";

const client = () => createClient({ url: process.env.REDIS_URL }).connect();
const context = async () => createResumableStreamContext({ waitUntil: null, publisher: await client(), subscriber: await client() });
const [one, two] = [await context(), await context()];
let release;
const more = new Promise((resolve) => (release = resolve));
const source = () => new ReadableStream({
  async start(controller) {
    controller.enqueue("first ");
    await more;
    controller.enqueue("second");
    controller.close();
  },
});
const read = async (stream) => {
  let text = "";
  for await (const part of stream) text += part;
  return text;
};
const original = await one.resumableStream("id", source);
const resumed = await two.resumeExistingStream("id");
assert.ok(resumed);
setTimeout(release, 100);
assert.deepEqual(await Promise.all([read(original), read(resumed)]), ["first second", "first second"]);
assert.equal(await two.resumeExistingStream("id"), null);
process.exit(0);
