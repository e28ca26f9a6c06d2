"""django: its own RedisCache, cached sessions, cached views."""
import os

import django
from django.conf import settings
from eventually import eventually

CACHE = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"] + "/2"}
settings.configure(
    CACHES={"default": CACHE}, SESSION_ENGINE="django.contrib.sessions.backends.cache", SECRET_KEY="secret", ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["testserver"], MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
django.setup()
from django.core.cache import cache  # noqa: E402 # it asks for the settings
from django.http import HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.cache import cache_page  # noqa: E402

calls = []


@cache_page(60)
def slow(request):
    calls.append(1)
    return HttpResponse(f"call {len(calls)}")


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


urlpatterns = [path("slow", slow), path("visit", visit)]

cache.set("user", {"name": "Ada"}, 100)
assert cache.get("user") == {"name": "Ada"} and not cache.add("user", 1) and cache.add("new", 1)
cache.set_many({"a": 1, "b": 2})
assert cache.get_many(["a", "b", "none"]) == {"a": 1, "b": 2} and "a" in cache
assert cache.incr("a", 5) == 6 and cache.decr("a", 2) == 4 and cache.touch("a", 1)
eventually(lambda: cache.get("a") is None, "an entry expires")
cache.set("v", "first", version=1)
assert cache.incr_version("v") == 2 and cache.get("v", version=2) == "first"
cache.delete_many(["b", "new"])
assert cache.get("b") is None and not cache.delete("b")
try:
    cache.incr("none")
    raise AssertionError("no ValueError")
except ValueError:
    pass

browser = Client()
assert browser.get("/slow").content == browser.get("/slow").content == b"call 1"
assert [browser.get("/visit").content for _ in range(3)] == [b"1", b"2", b"3"] and Client().get("/visit").content == b"1"
cache.clear()
assert browser.get("/slow").content == b"call 2" and browser.get("/visit").content == b"1"
