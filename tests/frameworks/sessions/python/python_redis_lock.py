"""python-redis-lock: acquire, renewal, owner, release by another, without waiting in BLPOP."""
import os

import redis_lock
from eventually import eventually
from redis import Redis

db = Redis.from_url(os.environ["REDIS_URL"])
mine, other = redis_lock.Lock(db, "job", expire=30), redis_lock.Lock(db, "job", expire=30)
assert mine.acquire(blocking=False) and not other.acquire(blocking=False)
assert mine.get_owner_id() == mine.id == other.get_owner_id()
mine.extend(60)
assert db.ttl("lock:job") > 50
try:
    other.release()
    raise AssertionError("a lock of another")
except redis_lock.NotAcquired:
    pass
mine.release()
assert not mine.locked()
renewed = redis_lock.Lock(db, "job", expire=1, auto_renewal=True)
with renewed:
    assert not other.acquire(blocking=False)
short = redis_lock.Lock(db, "job", expire=1)
assert short.acquire(blocking=False)
eventually(lambda: other.acquire(blocking=False), "a lock expires")
redis_lock.reset_all(db)
assert not other.locked()
