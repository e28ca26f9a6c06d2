// @socket.io/redis-adapter: two servers: rooms, fetchSockets, serverSideEmit, an emitter.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { eventually } from "./eventually.mjs";

const clients = [];
async function client() {
  const one = await createClient({ url: process.env.REDIS_URL }).connect();
  clients.push(one);
  return one;
}
async function serve() {
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(await client(), await client()) });
  io.on("connection", (socket) => socket.on("join", (room, done) => (socket.join(room), done())));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return [io, connect(`http://127.0.0.1:${http.address().port}`)];
}
const [[one, ada], [two, bob]] = [await serve(), await serve()];
await eventually(() => ada.connected && bob.connected, "clients connect");
await bob.emitWithAck("join", "room");
const heard = [];
ada.on("news", (text) => heard.push(`ada ${text}`));
bob.on("news", (text) => heard.push(`bob ${text}`));

assert.equal((await one.fetchSockets()).length, 2);
assert.deepEqual((await one.in("room").fetchSockets()).map(({ id }) => id), [bob.id]);
one.to("room").emit("news", "first");
await eventually(() => heard.includes("bob first"), "a message to a room of the other server");
new Emitter(await client()).emit("news", "second");
await eventually(() => heard.includes("ada second") && heard.includes("bob second"), "a message of an emitter");
assert.equal(heard.includes("ada first"), false);
two.on("question", (text, answer) => answer(`heard ${text}`));
assert.deepEqual(await one.serverSideEmitWithAck("question", "it"), ["heard it"]);
one.in("room").disconnectSockets();
await eventually(() => !bob.connected, "a client of the other server is disconnected");
process.exit(0);
