"""django-valkey: cache, lock, incr, ttl, keys, delete_pattern, sessions, in database 1."""
import os

import django
from django.conf import settings
from eventually import eventually

url = os.environ["REDIS_URL"].replace("redis:", "valkey:")
settings.configure(
    CACHES={"default": {"BACKEND": "django_valkey.cache.ValkeyCache", "LOCATION": f"{url}/1", "KEY_PREFIX": "site"}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SECRET_KEY="secret",
)
django.setup()
from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402 # it asks for the settings
from django.core.cache import cache  # noqa: E402
from django_valkey import get_valkey_connection  # noqa: E402

cache.set("user", {"name": "Ada", "tags": [1, 2]}, timeout=100)
assert cache.get("user") == {"name": "Ada", "tags": [1, 2]} and 98 <= cache.ttl("user") <= 100
assert not cache.add("user", 1) and cache.add("new", 1)
cache.set_many({"a": 1, "b": 2, "c": 3}, timeout=50)
assert cache.get_many(["a", "b", "none"]) == {"a": 1, "b": 2} and cache.has_key("a")
assert cache.incr("a", 10) == 11 and cache.decr("a") == 10 and cache.get_or_set("d", lambda: 4) == 4
assert cache.touch("a", 500) and cache.ttl("a") > 400 and cache.persist("a") and cache.ttl("a") is None
assert cache.expire("a", 60) and cache.pttl("a") > 50000 and cache.ttl("none") == 0
assert cache.set("a", 99, nx=True) is not True and cache.get("a") == 10

assert sorted(cache.keys("[abc]")) == ["a", "b", "c"] and sorted(cache.iter_keys("[abc]")) == ["a", "b", "c"]
assert cache.delete_pattern("[ab]") == 2 and cache.keys("[abc]") == ["c"]
assert cache.delete_many(["c", "d"]) == 2 and cache.delete("none") is False

with cache.lock("job", timeout=30):
    assert not cache.lock("job").acquire(blocking=False)
assert cache.lock("job", timeout=1).acquire(blocking=False)

session = SessionStore()
session["user"] = 7
session.save()
assert SessionStore(session.session_key)["user"] == 7
session.flush()
assert SessionStore(session.session_key or "gone").get("user") is None

cache.set("short", 1, timeout=1)
eventually(lambda: cache.get("short") is None, "an entry expires")
raw = get_valkey_connection("default")
assert b"site:1:user" in raw.keys("site:*") and raw.dbsize() > 0
cache.clear()
assert cache.get("user") is None and raw.dbsize() == 0
