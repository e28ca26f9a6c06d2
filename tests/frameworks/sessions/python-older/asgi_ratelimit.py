"""asgi-ratelimit: limits of a Starlette application, with a block."""
import os

from ratelimit import RateLimitMiddleware, Rule
from ratelimit.backends.redis import RedisBackend
from redis.asyncio import StrictRedis
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient


async def authenticate(scope):
    return dict(scope["headers"])[b"user"].decode(), "default"


async def answer(request):
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/few", answer)])
rules = {r"^/few": [Rule(minute=3, group="default", block_time=60)]}
app.add_middleware(RateLimitMiddleware, authenticate=authenticate, backend=RedisBackend(StrictRedis.from_url(os.environ["REDIS_URL"])), config=rules)
with TestClient(app, headers={"user": "ada"}) as browser:
    assert [browser.get("/few").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert browser.get("/few", headers={"user": "bob"}).status_code == 200
