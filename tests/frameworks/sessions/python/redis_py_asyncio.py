"""redis: with asyncio: pipelines, lock, pub/sub, a blocking pool."""
import asyncio
import os

import redis.asyncio as redis


async def main():
    pool = redis.BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=4, timeout=10, decode_responses=True)
    db = redis.Redis(connection_pool=pool)
    await asyncio.gather(*(db.incr("n") for _ in range(50)))
    assert await db.get("n") == "50"
    async with db.pipeline(transaction=True) as pipe:
        assert await pipe.set("a", "1").append("a", "2").strlen("a").execute() == [True, 2, 2]

    lock = db.lock("job", timeout=30)
    async with lock:
        assert not await db.lock("job").acquire(blocking=False)
        assert await lock.extend(30) and await db.pttl("job") > 50000
    assert not await lock.locked()

    async def count():
        async with db.lock("counter", timeout=10, sleep=0.01):
            await db.set("sum", int(await db.get("sum") or 0) + 1)

    await asyncio.gather(*(count() for _ in range(10)))
    assert await db.get("sum") == "10"

    async with db.pubsub(ignore_subscribe_messages=True) as listener:
        await listener.subscribe("news")
        async with asyncio.timeout(10):
            while await db.publish("news", "hello") == 0:
                await asyncio.sleep(0.01)
            while (message := await listener.get_message(ignore_subscribe_messages=True, timeout=1)) is None:
                pass
        assert message["data"] == "hello"
    await db.aclose()
    await pool.disconnect()


asyncio.run(main())
