"""channels_redis: RedisPubSubChannelLayer: channels and groups between two processes."""
import asyncio
import os

from channels_redis.pubsub import RedisPubSubChannelLayer


async def main():
    one, two = (RedisPubSubChannelLayer(hosts=[os.environ["REDIS_URL"]], prefix="app") for _ in range(2))
    ada, bob = await one.new_channel(), await two.new_channel()
    await one.send(bob, {"type": "chat", "text": "to bob"})
    assert await asyncio.wait_for(two.receive(bob), 5) == {"type": "chat", "text": "to bob"}
    await one.group_add("room", ada)
    await two.group_add("room", bob)
    await two.group_send("room", {"type": "chat", "text": "to all"})
    for layer, channel in ((one, ada), (two, bob)):
        assert (await asyncio.wait_for(layer.receive(channel), 5))["text"] == "to all"
    await two.group_discard("room", bob)
    await one.group_send("room", {"type": "chat", "text": "last"})
    assert (await asyncio.wait_for(one.receive(ada), 5))["text"] == "last"
    try:
        await asyncio.wait_for(two.receive(bob), 0.2)
        raise AssertionError("a message for a group that was left")
    except TimeoutError:
        pass
    await one.flush()
    await two.flush()


asyncio.run(main())
