"""coredis: pipelines, scripts, its Lock, its tracking cache over RESP3."""
import asyncio
import os

import coredis
from coredis.exceptions import LockError
from coredis.patterns.cache import LRUCache
from coredis.patterns.lock import Lock
from eventually import eventually_async


async def main():
    async with coredis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as db:
        assert await db.set("name", "Ada", ex=100) and await db.get("name") == "Ada" and await db.ttl("name") > 90
        async with db.pipeline(transaction=True) as pipe:
            first, second = pipe.incr("n"), pipe.incr("n")
        assert (await first, await second) == (1, 2)
        add = db.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        assert await add(["sum"], [2]) == 2 and await add(["sum"], [3]) == 5
        mine, other = Lock(db, "job", timeout=30), Lock(db, "job", timeout=30, blocking=False)
        async with mine:
            assert await mine.extend(30) and await db.pttl("job") > 50000
            try:
                async with other:
                    raise AssertionError("a lock of another")
            except LockError:
                pass
        assert not await db.exists(["job"])

        cached = coredis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, cache=LRUCache())
        async with cached:
            assert await cached.get("name") == "Ada" and await cached.get("name") == "Ada"
            await db.set("name", "Bob")

            async def changed():
                return await cached.get("name") == "Bob"

            await eventually_async(changed, "a change by another is seen")


asyncio.run(main())
