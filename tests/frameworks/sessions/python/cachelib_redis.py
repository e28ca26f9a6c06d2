"""cachelib: RedisCache: set, add, many, inc, has, delete, clear under a prefix."""
import os

from cachelib import RedisCache
from eventually import eventually

cache = RedisCache(host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"]), db=1, key_prefix="app:", default_timeout=100)
other = RedisCache(host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"]), db=1)
assert cache.set("a", {"x": [1]}) and cache.get("a") == {"x": [1]} and other.get("app:a") == {"x": [1]} and cache.get("none") is None
assert not cache.add("a", 1) and cache.add("new", 1) and cache.has("new") and not cache.has("none")
assert set(cache.set_many({"b": 2, "c": "x"})) == {"b", "c"} and cache.get_many("b", "c", "none") == [2, "x", None]
assert cache.get_dict("b", "none") == {"b": 2, "none": None}
assert cache.inc("n", 4) == 4 and cache.dec("n") == 3
assert cache.delete("b") and not cache.delete("b") and cache.delete_many("c", "none") == ["c", "none"]
assert cache.set("short", 1, timeout=1)
eventually(lambda: not cache.has("short"), "an entry expires")
other.set("kept", 1)
assert cache.clear() and cache.get("a") is None and other.get("kept") == 1
