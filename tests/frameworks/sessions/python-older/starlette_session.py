"""starlette-session: sessions of a Starlette application."""
import os

from redis import Redis
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette_session import SessionMiddleware
from starlette_session.backends import BackendType

db = Redis.from_url(os.environ["REDIS_URL"])


async def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return PlainTextResponse(str(request.session["visits"]))


async def leave(request):
    request.session.clear()
    return PlainTextResponse("left")


app = Starlette(routes=[Route("/visit", visit), Route("/leave", leave)])
app.add_middleware(SessionMiddleware, secret_key="secret", cookie_name="session", backend_type=BackendType.redis, backend_client=db)
browser = TestClient(app)
assert [browser.get("/visit").text for _ in range(3)] == ["1", "2", "3"] and len(db.keys()) == 1
assert TestClient(app).get("/visit").text == "1" and len(db.keys()) == 2
browser.get("/leave")
assert browser.get("/visit").text == "1"
