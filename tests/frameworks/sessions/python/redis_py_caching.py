"""redis: client-side caching over RESP3 (CacheConfig)."""
import os

import redis
from eventually import eventually
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

# It asks for Redis 7.4, for its users' safety, and needs nothing of it.
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"

db = redis.Redis.from_url(os.environ["REDIS_URL"], protocol=3, cache_config=CacheConfig(max_size=100), decode_responses=True)
writer = redis.Redis.from_url(os.environ["REDIS_URL"])
cache = db.get_cache()

writer.mset({"a": "1", "b": "2"})
assert db.get("a") == "1" and db.get("a") == "1" and cache.size == 1
assert db.mget("a", "b") == ["1", "2"] and cache.size == 2

writer.set("a", "changed")
eventually(lambda: db.get("a") == "changed", "a change is seen")
assert db.get("b") == "2"
writer.delete("b")
eventually(lambda: db.get("b") is None, "a deletion is seen")

assert db.set("own", "x") and db.get("own") == "x" and db.set("own", "y") and db.get("own") == "y"
writer.set("short", "1", px=50)
db.get("short")
eventually(lambda: db.get("short") is None, "an expiry is seen")

db.get("a")
writer.flushall()
eventually(lambda: db.get("a") is None, "FLUSHALL is seen")
