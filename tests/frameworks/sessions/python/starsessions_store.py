"""starsessions: sessions of a Starlette application, rolling, regenerated, cleared."""
import os

import redis
import redis.asyncio
from eventually import eventually
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starsessions import SessionAutoloadMiddleware, SessionMiddleware, regenerate_session_id
from starsessions.stores.redis import RedisStore

store = RedisStore(connection=redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]), prefix="app.")


async def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return PlainTextResponse(str(request.session["visits"]))


async def renew(request):
    regenerate_session_id(request)
    return PlainTextResponse("renewed")


async def leave(request):
    request.session.clear()
    return PlainTextResponse("left")


middleware = [Middleware(SessionMiddleware, store=store, cookie_https_only=False, lifetime=100, rolling=True), Middleware(SessionAutoloadMiddleware)]
app = Starlette(routes=[Route("/visit", visit), Route("/renew", renew), Route("/leave", leave)], middleware=middleware)
db = redis.Redis.from_url(os.environ["REDIS_URL"])
with TestClient(app) as browser:
    assert [browser.get("/visit").text for _ in range(3)] == ["1", "2", "3"]
    (key,) = db.keys("app.*")
    assert 90 < db.ttl(key) <= 100
    browser.get("/renew")
    assert browser.get("/visit").text == "4"
    # One who leaves, or whose session has expired, begins again.
    (new,) = set(db.keys("app.*")) - {key}
    browser.get("/leave")
    assert not db.exists(new) and browser.get("/visit").text == "1" and browser.get("/visit").text == "2"
    for key in db.keys("app.*"):
        db.pexpire(key, 50)
    eventually(lambda: db.keys("app.*") == [], "sessions expire")
    assert browser.get("/visit").text == "1"
