"""cashews: cache, decorator with lock, lock, rate limit, scan, delete_match."""
import asyncio
import os

from cashews import Cache
from cashews.exceptions import LockedError, RateLimitError
from eventually import eventually_async

cache = Cache()
cache.setup(os.environ["REDIS_URL"] + "/6", suppress=False)
calls = []


@cache(ttl="1m", key="double:{n}", lock=True)
async def double(n):
    calls.append(n)
    return 2 * n


@cache.rate_limit(limit=2, period="1m", key="limited:{user}")
async def limited(user):
    return user


async def main():
    assert await asyncio.gather(*(double(2) for _ in range(5))) == [4] * 5 and calls == [2], calls
    await cache.set("a", {"x": 1}, expire="1m")
    assert await cache.get("a") == {"x": 1} and 58 <= await cache.get_expire("a") <= 60
    assert await cache.set("a", 1, exist=False) is False and await cache.exists("a")
    await cache.set_many({"b": 2, "c": 3}, expire=60)
    assert await cache.get_many("b", "c", "none") == (2, 3, None)
    assert await cache.incr("n") == 1 and await cache.incr("n", 4) == 5
    assert sorted([key async for key in cache.scan("[abc]")]) == ["a", "b", "c"]
    await cache.delete_match("a*")
    assert await cache.get("a") is None and await cache.get("c") == 3
    await cache.set("short", 1, expire=0.1)

    async def gone():
        return await cache.get("short") is None

    await eventually_async(gone, "an entry expires")
    async with cache.lock("job", expire=10):
        assert await cache.is_locked("job")
        try:
            async with cache.lock("job", expire=10, wait=False):
                raise AssertionError("a lock of another")
        except LockedError:
            pass
    assert not await cache.is_locked("job")
    assert await limited("eve") and await limited("eve") and await limited("bob")
    try:
        await limited("eve")
        raise AssertionError("not limited")
    except RateLimitError:
        pass
    await cache.clear()
    assert await cache.get("c") is None
    await cache.close()


asyncio.run(main())
