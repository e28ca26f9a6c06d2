// @nestjs/microservices: the Redis transport: requests with answers, several, an error; events by name and by pattern.
import "reflect-metadata";
import assert from "node:assert/strict";
import { NestFactory } from "@nestjs/core";
import { Module } from "@nestjs/common";
import { ClientProxyFactory, EventPattern, MessagePattern, RpcException, Transport } from "@nestjs/microservices";
import { firstValueFrom, from, toArray } from "rxjs";
import { eventually } from "./eventually.mjs";

const heard = [];
class Numbers {
  sum(numbers) {
    if (!numbers.length) throw new RpcException("no numbers");
    return numbers.reduce((a, b) => a + b);
  }
  count(end) {
    return from(Array.from({ length: end }, (_, n) => n));
  }
  news(text) {
    heard.push(text);
  }
}
// As the decorators of TypeScript do.
const decorate = (decorator, name) => decorator(Numbers.prototype, name, Object.getOwnPropertyDescriptor(Numbers.prototype, name));
decorate(MessagePattern({ cmd: "sum" }), "sum");
decorate(MessagePattern("count"), "count");
decorate(EventPattern("news.*"), "news");
class App {}
Module({ controllers: [Numbers] })(App);

const options = { host: process.env.REDIS_HOST, port: Number(process.env.REDIS_PORT), wildcards: true };
const app = await NestFactory.createMicroservice(App, { transport: Transport.REDIS, options, logger: false });
await app.listen();
const client = ClientProxyFactory.create({ transport: Transport.REDIS, options });
await client.connect();
assert.equal(await firstValueFrom(client.send({ cmd: "sum" }, [1, 2, 3])), 6);
assert.deepEqual(await firstValueFrom(client.send("count", 3).pipe(toArray())), [0, 1, 2]);
await assert.rejects(firstValueFrom(client.send({ cmd: "sum" }, [])), (error) => error.message === "no numbers");
client.emit("news.today", "hello");
await eventually(() => heard.includes("hello"), "an event by its pattern");
client.close();
await app.close();
