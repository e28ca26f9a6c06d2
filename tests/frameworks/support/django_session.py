"""In: a cache of django-redis, or of django-valkey, which comes of it. Out: it has done what its users do with it, or an AssertionError."""
import django
from django.conf import settings
from eventually import eventually


def session(backend, url, connection):
    """Uses a cache of the class `backend` in database 1, and the client that connection() returns after that."""
    settings.configure(
        CACHES={"default": {"BACKEND": backend, "LOCATION": f"{url}/1", "KEY_PREFIX": "site"}},
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        SECRET_KEY="secret",
    )
    django.setup()
    from django.contrib.sessions.backends.cache import SessionStore  # it asks for the settings
    from django.core.cache import cache

    cache.set("user", {"name": "Ada", "tags": [1, 2]}, timeout=100)
    assert cache.get("user") == {"name": "Ada", "tags": [1, 2]} and 98 <= cache.ttl("user") <= 100
    assert not cache.add("user", 1) and cache.add("new", 1) and cache.get("none", "default") == "default"
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

    visit = SessionStore()
    visit["user"] = 7
    visit.save()
    assert SessionStore(visit.session_key)["user"] == 7
    visit.flush()
    assert SessionStore(visit.session_key or "gone").get("user") is None

    cache.set("short", 1, timeout=1)
    eventually(lambda: cache.get("short") is None, "an entry expires")
    raw = connection("default")
    assert b"site:1:user" in raw.keys("site:*") and raw.dbsize() > 0
    cache.clear()
    assert cache.get("user") is None and raw.dbsize() == 0
