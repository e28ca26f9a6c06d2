"""aioredlock: lock, refuse, extend, unlock."""
import asyncio
import os

from aioredlock import Aioredlock, LockError


async def main():
    manager = Aioredlock([os.environ["REDIS_URL"]], retry_count=1, internal_lock_timeout=10)
    mine = await manager.lock("job", lock_timeout=30)
    assert mine.valid and await manager.is_locked("job")
    try:
        await manager.lock("job")
        raise AssertionError("a lock of another")
    except LockError:
        pass
    await manager.extend(mine, lock_timeout=60)
    await manager.unlock(mine)
    assert not await manager.is_locked("job")
    async with await manager.lock("job") as lock:
        assert lock.valid
    await manager.destroy()


asyncio.run(main())
