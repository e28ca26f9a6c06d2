"""aiocache: cache, cached decorator, RedLock, OptimisticLock."""
import asyncio
import os

from aiocache import RedisCache, cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.serializers import JsonSerializer
from eventually import eventually_async

WHERE = {"endpoint": os.environ["REDIS_HOST"], "port": int(os.environ["REDIS_PORT"])}


async def main():
    async with RedisCache(**WHERE, namespace="app:", serializer=JsonSerializer()) as cache:
        assert await cache.set("a", {"x": 1}, ttl=100) and await cache.get("a") == {"x": 1}
        assert await cache.multi_set([("b", 2), ("c", 3)], ttl=100) and await cache.multi_get(["b", "c", "none"]) == [2, 3, None]
        assert await cache.add("new", 1) and await cache.exists("new") and await cache.expire("new", 1)
        try:
            await cache.add("a", 1)
            raise AssertionError("no ValueError")
        except ValueError:
            pass

        async def gone():
            return not await cache.exists("new")

        await eventually_async(gone, "an entry expires")
        assert await cache.delete("b") == 1

        # Ten compute at once, and one of them does. It takes long enough for the others to wait: who asks while it leaves can get the lock
        # before aiocache has forgotten the owner before, and both then fail with a KeyError.
        calls = []

        async def compute():
            async with RedLock(cache, "slow", lease=10):
                if (found := await cache.get("slow")) is None:
                    calls.append(1)
                    await asyncio.sleep(0.2)
                    await cache.set("slow", found := "computed")
                return found

        assert await asyncio.gather(*(compute() for _ in range(10))) == ["computed"] * 10 and len(calls) == 1
        try:
            async with OptimisticLock(cache, "slow") as lock:
                await cache.set("slow", "by another")
                await lock.cas("mine")
            raise AssertionError("no OptimisticLockError")
        except OptimisticLockError:
            pass
        async with OptimisticLock(cache, "slow") as lock:
            await lock.cas("mine")
        assert await cache.get("slow") == "mine"

        @cached(ttl=100, cache=RedisCache, key="view", **WHERE)
        async def view():
            calls.append("view")
            return "seen"

        assert await view() == "seen"
        assert await view() == "seen" and calls.count("view") == 1
        await cache.clear(namespace="app:")
        assert not await cache.exists("a")
        await view.cache.close()


asyncio.run(main())
