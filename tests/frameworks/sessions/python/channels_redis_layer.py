"""channels_redis: RedisChannelLayer, whose channels are sorted sets."""
import asyncio
import os

from channels_redis.core import RedisChannelLayer


async def main():
    layer = RedisChannelLayer(hosts=[os.environ["REDIS_URL"]])
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "chat"})
    assert await asyncio.wait_for(layer.receive(channel), 5) == {"type": "chat"}
    await layer.flush()
    await layer.close_pools()


asyncio.run(main())
