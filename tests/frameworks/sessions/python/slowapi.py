"""slowapi: limits of a Starlette application."""
import os

from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from eventually import eventually

limiter = Limiter(key_func=get_remote_address, storage_uri=os.environ["REDIS_URL"], headers_enabled=True)


@limiter.limit("2/minute")
async def few(request):
    return PlainTextResponse("ok")


@limiter.limit("1/second")
async def soon(request):
    return PlainTextResponse("ok")


app = Starlette(routes=[Route("/few", few), Route("/soon", soon)])
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
browser = TestClient(app)

replies = [browser.get("/few") for _ in range(3)]
assert [reply.status_code for reply in replies] == [200, 200, 429]
assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["1", "0", "0"]
eventually(lambda: browser.get("/soon").status_code == 429, "refused")
eventually(lambda: browser.get("/soon").status_code == 200, "allowed after the window")
