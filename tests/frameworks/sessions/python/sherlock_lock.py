"""sherlock: RedisLock: acquire, refuse, renew, expiry, release by another."""
import os
import time

import redis
import sherlock
from eventually import eventually

db = redis.Redis.from_url(os.environ["REDIS_URL"])
mine, other = [sherlock.RedisLock("job", namespace="app", client=db, expire=30, timeout=0.2, retry_interval=0.05) for _ in range(2)]
assert mine.acquire() and mine.locked() and not other.acquire(blocking=False)
try:
    other.acquire()
    raise AssertionError("no LockTimeoutException")
except sherlock.LockTimeoutException:
    pass
try:
    other.release()
    raise AssertionError("a lock of another")
except sherlock.LockException:
    pass
db.expire("app_job", 10)
assert mine.renew() and db.ttl("app_job") > 25
mine.release()
with other:
    assert mine.locked()
short = sherlock.RedisLock("short", client=db, expire=1)
assert short.acquire()
begun = time.monotonic()
eventually(lambda: sherlock.RedisLock("short", client=db, expire=1).acquire(blocking=False), "a lock expires")
assert time.monotonic() - begun > 0.5
