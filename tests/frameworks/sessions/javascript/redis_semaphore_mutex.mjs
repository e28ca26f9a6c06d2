// redis-semaphore: Mutex and RedlockMutex: acquire, tryAcquire, refresh, lost, timeout.
import assert from "node:assert/strict";
import Redis from "ioredis";
import { Mutex, RedlockMutex } from "redis-semaphore";
import { eventually } from "./eventually.mjs";

const clients = [0, 1, 2].map((db) => new Redis(process.env.REDIS_URL, { db }));
const options = { lockTimeout: 300, acquireTimeout: 200, refreshInterval: 100, retryInterval: 10 };
for (const make of [(options) => new Mutex(clients[0], "job", options), (options) => new RedlockMutex(clients, "job", options)]) {
  const [mine, other] = [make(options), make(options)];
  await mine.acquire();
  assert.deepEqual([mine.isAcquired, await other.tryAcquire()], [true, false]);
  await assert.rejects(other.acquire(), /timeout/);
  // It is refreshed for longer than its timeout, which is over after the next line.
  await assert.rejects(make({ ...options, acquireTimeout: 500 }).acquire(), /timeout/);
  await mine.release();
  await other.acquire();
  await other.release();

  let lost = false;
  const robbed = make({ ...options, onLockLost: () => (lost = true) });
  await robbed.acquire();
  await Promise.all(clients.map((client) => client.set("mutex:job", "another", "PX", 300)));
  await eventually(() => lost, "its owner hears of a lock that is lost");
  await eventually(() => mine.tryAcquire(), "a lock expires");
  await mine.release();
}
for (const client of clients) client.disconnect();
