"""aiohttp-session: sessions of an aiohttp application: written, read, expired, invalidated."""
import asyncio
import os

import aiohttp
from aiohttp import web
from aiohttp_session import get_session, setup
from aiohttp_session.redis_storage import RedisStorage
from eventually import eventually_async
from redis import asyncio as redis


async def visit(request):
    session = await get_session(request)
    session["visits"] = session.get("visits", 0) + 1
    return web.Response(text=str(session["visits"]))


async def leave(request):
    (await get_session(request)).invalidate()
    return web.Response(text="left")


async def main():
    db = redis.Redis.from_url(os.environ["REDIS_URL"])
    app = web.Application()
    setup(app, RedisStorage(db, max_age=100))
    app.router.add_get("/visit", visit)
    app.router.add_get("/leave", leave)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:

        async def get(path):
            async with browser.get(url + path) as response:
                return await response.text()

        assert [await get("/visit") for _ in range(3)] == ["1", "2", "3"]
        [key] = await db.keys("AIOHTTP_SESSION_*")
        assert 90 < await db.ttl(key) <= 100
        await db.pexpire(key, 50)

        async def gone():
            return not await db.exists(key)

        await eventually_async(gone, "a session expires")
        assert [await get("/visit"), await get("/visit"), await get("/leave"), await get("/visit")] == ["1", "2", "left", "1"]
    await runner.cleanup()
    await db.aclose()


asyncio.run(main())
