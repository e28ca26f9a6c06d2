"""faststream: a broker that publishes to subscribers of channels and patterns, and answers requests."""
import asyncio
import os

from eventually import eventually_async
from faststream.redis import RedisBroker

broker = RedisBroker(os.environ["REDIS_URL"], logger=None)
heard = []


@broker.subscriber("news")
@broker.publisher("answers")
async def news(text: str) -> str:
    heard.append(text)
    return f"heard {text}"


@broker.subscriber(channel="answers")
async def answers(text: str):
    heard.append(text)


@broker.subscriber("question.{subject}")
async def question(text: str):
    return text.upper()


async def main():
    async with broker:
        await broker.start()

        async def first():
            # The subscribers begin in their own time.
            await broker.publish("hello", channel="news")
            return "heard hello" in heard

        await eventually_async(first, "a message and what it causes")
        reply = await broker.request("why", channel="question.life", timeout=10)
        assert await reply.decode() == "WHY"


asyncio.run(main())
