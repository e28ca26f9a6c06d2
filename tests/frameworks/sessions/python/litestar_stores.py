"""litestar: RedisStore: a store with namespaces, cached responses, limits, sessions; a channel between two plugins."""
import asyncio
import os

from eventually import eventually, eventually_async
from litestar import Litestar, Request, get
from litestar.channels import ChannelsPlugin
from litestar.channels.backends.redis import RedisChannelsPubSubBackend
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.redis import RedisStore
from litestar.stores.registry import StoreRegistry
from litestar.testing import TestClient
from redis.asyncio import Redis

url = os.environ["REDIS_URL"]


async def store():
    store = RedisStore.with_client(url, namespace="app")
    async with store:
        other = store.with_namespace("part")
        await store.set("a", "x", expires_in=100)
        await other.set("a", b"y", expires_in=1)
        assert await store.get("a") == b"x" and await other.get("a") == b"y" and await store.get("none") is None
        assert await store.exists("a") and 90 < await store.expires_in("a") <= 100
        assert await store.get("a", renew_for=200) == b"x" and await store.expires_in("a") > 190

        async def gone():
            return not await other.exists("a")

        await eventually_async(gone, "a pair expires")
        await other.set("b", "z")
        await other.delete_all()
        assert await store.exists("a") and not await other.exists("b")
        await store.delete("a")
        assert not await store.exists("a")


async def channel():
    plugins = [ChannelsPlugin(RedisChannelsPubSubBackend(redis=Redis.from_url(url)), channels=["news"]) for _ in range(2)]
    for plugin in plugins:
        await plugin._on_startup()
    async with plugins[0].start_subscription("news") as subscriber:
        heard = asyncio.create_task(anext(subscriber.iter_events()))

        async def received():
            # The subscription begins in its own time.
            await plugins[1].wait_published("hello", "news")
            return heard.done()

        await eventually_async(received, "a message of the other plugin")
        assert heard.result() == b"hello"
    for plugin in plugins:
        await plugin._on_shutdown()


calls = []


@get("/slow", cache=60)
async def slow() -> int:
    calls.append(1)
    return len(calls)


@get("/visit")
async def visit(request: Request) -> int:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return request.session["visits"]


@get("/leave")
async def leave(request: Request) -> str:
    request.clear_session()
    return "left"


def application():
    root = RedisStore.with_client(url, namespace="web")
    limit = RateLimitConfig(rate_limit=("minute", 8))
    app = Litestar([slow, visit, leave], stores=StoreRegistry(default_factory=root.with_namespace), middleware=[limit.middleware, ServerSideSessionConfig().middleware])
    with TestClient(app) as browser:
        assert [browser.get("/slow").text for _ in range(2)] == ["1", "1"] and calls == [1]
        assert [browser.get(path).text for path in ("/visit", "/visit", "/leave", "/visit")] == ["1", "2", "left", "1"]
        eventually(lambda: browser.get("/visit").status_code == 429, "the ninth is refused", seconds=5)


asyncio.run(store())
asyncio.run(channel())
application()
