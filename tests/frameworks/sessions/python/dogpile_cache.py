"""dogpile.cache: regions, get_or_create under a distributed lock, many, invalidation."""
import os
import threading

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from eventually import eventually

region = make_region(key_mangler=lambda key: f"app:{key}").configure(
    "dogpile.cache.redis",
    expiration_time=60,
    arguments={"url": os.environ["REDIS_URL"] + "/5", "distributed_lock": True, "redis_expiration_time": 120, "thread_local_lock": False, "lock_timeout": 10},
)
calls = []


@region.cache_on_arguments()
def double(n):
    calls.append(n)
    return 2 * n


threads = [threading.Thread(target=double, args=(21,)) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert double(21) == 42 and calls == [21], calls
double.invalidate(21)
assert double(21) == 42 and calls == [21, 21]
double.set(7, 21)
assert double(21) == 7

region.set_multi({"a": 1, "b": {"x": 2}})
assert region.get_multi(["a", "b", "none"]) == [1, {"x": 2}, NO_VALUE]
region.delete_multi(["a", "b"])
assert region.get("a") is NO_VALUE
assert region.get_or_create("short", lambda: "old", expiration_time=1) == "old"
eventually(lambda: region.get_or_create("short", lambda: "new", expiration_time=0.2) == "new", "a value expires")
region.invalidate()
assert region.get("short") is NO_VALUE
