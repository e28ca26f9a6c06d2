"""taskiq-redis: PubSubBroker with RedisAsyncResultBackend: a task, its result, a failure."""
import asyncio
import os

from eventually import eventually_async
from redis.asyncio import Redis
from taskiq.receiver import Receiver
from taskiq_redis import PubSubBroker, RedisAsyncResultBackend

url = os.environ["REDIS_URL"]
broker = PubSubBroker(url).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=100))


@broker.task
async def add(a, b):
    return a + b


@broker.task
async def fail():
    raise ValueError("no")


async def main():
    await broker.startup()
    broker.is_worker_process = True
    end = asyncio.Event()
    worker = asyncio.create_task(Receiver(broker, run_startup=False).listen(end))
    db = Redis.from_url(url)

    async def listens():
        return (await db.pubsub_numsub("taskiq"))[0][1] == 1

    await eventually_async(listens, "the worker subscribes")
    assert (await (await add.kiq(2, 3)).wait_result(timeout=10)).return_value == 5
    failed = await (await fail.kiq()).wait_result(timeout=10)
    assert failed.is_err and isinstance(failed.error, ValueError)
    end.set()
    worker.cancel()
    await db.aclose()


asyncio.run(main())
