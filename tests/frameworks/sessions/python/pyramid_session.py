"""pyramid_session_redis: sessions of a Pyramid application: written, read, expired, invalidated."""
import os

from eventually import eventually
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid_session_redis import RedisSessionFactory
from redis import Redis


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return Response(str(request.session["visits"]))


def leave(request):
    request.session.invalidate()
    return Response("left")


config = Configurator(session_factory=RedisSessionFactory("secret", redis_url=os.environ["REDIS_URL"], timeout=100, cookie_secure=False))
for name, view in (("visit", visit), ("leave", leave)):
    config.add_route(name, f"/{name}")
    config.add_view(view, route_name=name)
app = config.make_wsgi_app()
cookie = ""


def get(path):
    global cookie
    response = Request.blank(path, headers={"Cookie": cookie}).get_response(app)
    cookie = response.headers.get("Set-Cookie", cookie).split(";")[0]
    return response.text


db = Redis.from_url(os.environ["REDIS_URL"])
assert [get("/visit") for _ in range(3)] == ["1", "2", "3"]
(key,) = db.keys()
assert 90 < db.ttl(key) <= 100
db.pexpire(key, 50)
eventually(lambda: db.keys() == [], "a session expires")
assert [get("/visit"), get("/visit"), get("/leave"), get("/visit")] == ["1", "2", "left", "1"]
