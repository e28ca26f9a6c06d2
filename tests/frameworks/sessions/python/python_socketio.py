"""python-socketio: two servers whose managers publish to each other's clients."""
import asyncio
import os

import socketio
from eventually import eventually_async


async def main():
    managers = [socketio.AsyncRedisManager(os.environ["REDIS_URL"], channel="io") for _ in range(2)]
    servers = [socketio.AsyncServer(client_manager=manager, async_mode="asgi") for manager in managers]
    sent = []

    async def send_packet(eio_sid, packet):
        sent.append((eio_sid, packet.data))

    for server, manager in zip(servers, managers):
        server.eio.send_packet = send_packet
        manager.initialize()
    sid = await managers[1].connect("eio", "/")
    await managers[1].enter_room(sid, "/", "room")

    async def received():
        # The listeners subscribe in their own time.
        await servers[0].emit("news", {"n": 1}, room="room")
        return sent

    await eventually_async(received, "an event for a client of the other server")
    assert sent[0] == ("eio", '2["news",{"n":1}]')

    # A process without clients emits, too.
    writer = socketio.RedisManager(os.environ["REDIS_URL"], channel="io", write_only=True)
    writer.emit("last", "word")

    async def last():
        return ("eio", '2["last","word"]') in sent

    await eventually_async(last, "an event of a process outside")
    # Rooms are left on the server that has the client.
    await servers[0].leave_room(sid, "room", namespace="/")

    async def left():
        return sid not in [member for member, _ in managers[1].get_participants("/", "room")]

    await eventually_async(left, "a room is left")


asyncio.run(main())
