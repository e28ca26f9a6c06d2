"""cashews: client-side caching by messages of invalidation (BCAST)."""
import asyncio
import os

from cashews import Cache
from eventually import eventually_async


async def main():
    mine, other = Cache(), Cache()
    for cache in (mine, other):
        cache.setup(os.environ["REDIS_URL"], client_side=True, suppress=False)
        await cache.init()
    await other.set("a", "first", expire=100)
    assert await mine.get("a") == "first" and await mine.get("a") == "first"
    await other.set("a", "second", expire=100)

    async def changed():
        return await mine.get("a") == "second"

    await eventually_async(changed, "a change by another is seen")
    await other.delete("a")

    async def gone():
        return await mine.get("a") is None

    await eventually_async(gone, "a deletion by another is seen")
    await mine.close()
    await other.close()


asyncio.run(main())
