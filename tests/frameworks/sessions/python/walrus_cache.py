"""walrus: its Cache with decorators and its keys as attributes."""
import os

from eventually import eventually
from walrus import Database

db = Database.from_url(os.environ["REDIS_URL"])
db["name"] = "Ada"
assert db["name"] == b"Ada" and "name" in db and db.expire("name", 100) and db.ttl("name") > 90
calls = []
cache = db.cache("app", default_timeout=100)


@cache.cached(timeout=100)
def double(n):
    calls.append(n)
    return 2 * n


assert cache.set("a", {"x": 1}) and cache.get("a") == {"x": 1} and cache.get("none", "default") == "default"
cache.set_many({"b": 2, "c": 3}, timeout=100)
assert cache.get_many(["b", "c"]) == {"b": 2, "c": 3} and sorted(cache.keys(strip_prefix=True)) == ["a", "b", "c"]
assert double(2) == double(2) == 4 and calls == [2]
double.bust(2)
assert double(2) == 4 and calls == [2, 2]
cache.set("short", 1, timeout=1)
eventually(lambda: cache.get("short") is None, "an entry expires")
assert cache.delete("a") and cache.get("a") is None
assert cache.flush() and list(cache.keys()) == [] and db["name"] == b"Ada"
