"""Beaker: cache regions and sessions (ext:redis), with its lock of readers and writers."""
import os
import threading

from beaker.cache import CacheManager
from beaker.middleware import SessionMiddleware
from eventually import eventually

url = os.environ["REDIS_URL"] + "/5"
cache = CacheManager(type="ext:redis", url=url, lock_dir=".", expire=60)
calls = []


@cache.cache("double", expire=60)
def double(n):
    calls.append(n)
    return 2 * n


threads = [threading.Thread(target=double, args=(21,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert double(21) == 42 and calls == [21]
cache.invalidate(double, "double", 21)
assert double(21) == 42 and calls == [21, 21]
users = cache.get_cache("users", expire=60)
users.put("ada", {"x": 1})
assert users.get("ada") == {"x": 1} and "ada" in users
users.remove_value("ada")
assert "ada" not in users
users.put("short", 1, expiretime=1)
eventually(lambda: "short" not in users, "an entry expires")
users.clear()


def visit(environ, start_response):
    session = environ["beaker.session"]
    session["visits"] = session.get("visits", 0) + 1
    session.save()
    start_response("200 OK", [])
    return [str(session["visits"])]


app = SessionMiddleware(visit, {"session.type": "ext:redis", "session.url": url, "session.timeout": 100})
cookie = ""


def get():
    answer = {}
    environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "HTTP_HOST": "localhost", "HTTP_COOKIE": cookie}
    body = app(environ, lambda status, headers, *_: answer.update(headers))
    return body[0], answer.get("Set-cookie", cookie).split(";")[0]


for expected in ("1", "2", "3"):
    visits, cookie = get()
    assert visits == expected
