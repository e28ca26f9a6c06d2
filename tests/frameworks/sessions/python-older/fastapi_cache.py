"""fastapi-cache2: cached endpoints, headers, expiry, clear."""
import contextlib
import os

from eventually import eventually
from fastapi import FastAPI
from fastapi.testclient import TestClient
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis import asyncio as aioredis

calls = []


@contextlib.asynccontextmanager
async def lifespan(app):
    FastAPICache.init(RedisBackend(aioredis.from_url(os.environ["REDIS_URL"])), prefix="app")
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/slow")
@cache(namespace="slow", expire=60)
async def slow(n: int):
    calls.append(n)
    return {"n": n, "call": len(calls)}


@app.get("/short")
@cache(expire=1)
async def short():
    calls.append("short")
    return len(calls)


@app.get("/clear")
async def clear():
    await FastAPICache.clear(namespace="slow")


with TestClient(app) as browser:
    first, second = browser.get("/slow?n=1"), browser.get("/slow?n=1")
    assert first.json() == second.json() == {"n": 1, "call": 1}
    assert (first.headers["X-FastAPI-Cache"], second.headers["X-FastAPI-Cache"]) == ("MISS", "HIT")
    etag = {"If-None-Match": second.headers["ETag"]}
    assert browser.get("/slow?n=1", headers=etag).status_code == 304
    assert browser.get("/slow?n=2").json()["call"] == 2
    once = browser.get("/short").json()
    eventually(lambda: browser.get("/short").json() > once, "an entry expires")
    assert browser.get("/clear").status_code == 200
    assert browser.get("/slow?n=1").json()["call"] > 2
