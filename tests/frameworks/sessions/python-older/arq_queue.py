"""arq: a queue of jobs, which is a sorted set."""
import asyncio
import os

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker


async def add(context, a, b):
    return a + b


async def main():
    pool = await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"]))
    job = await pool.enqueue_job("add", 2, 3)
    worker = Worker([add], redis_pool=pool, burst=True, handle_signals=False)
    await worker.async_run()
    assert await job.result(timeout=10) == 5


asyncio.run(main())
