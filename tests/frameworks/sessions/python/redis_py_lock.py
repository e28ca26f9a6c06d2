"""redis: its Lock, with timeout, extend, release by another, and blocking."""
import os
import threading

import redis
from eventually import eventually

db = redis.Redis.from_url(os.environ["REDIS_URL"])
mine, other = db.lock("job", timeout=30), db.lock("job", timeout=30)

assert mine.acquire(blocking=False) and mine.locked() and mine.owned()
assert not other.acquire(blocking=False) and not other.acquire(blocking_timeout=0.2)
assert 28000 < db.pttl("job") <= 30000
assert mine.extend(30) and db.pttl("job") > 58000
assert mine.extend(10, replace_ttl=True) and db.pttl("job") <= 10000
assert mine.reacquire() and 28000 < db.pttl("job") <= 30000

for call in (other.release, lambda: other.extend(1), other.reacquire):
    other.local.token = b"another"
    try:
        call()
        raise AssertionError("a lock of another")
    except redis.exceptions.LockNotOwnedError:
        pass
mine.release()
assert not mine.locked()

# One that expires is free for another, and lost for its owner.
short = db.lock("job", timeout=0.1)
assert short.acquire(blocking=False)
eventually(lambda: not short.locked(), "a lock expires")
try:
    short.release()
    raise AssertionError("no error")
except redis.exceptions.LockNotOwnedError:
    pass

# Eight threads count together.
db.set("count", 0)


def count():
    for _ in range(10):
        with db.lock("counter", timeout=10, sleep=0.005):
            db.set("count", int(db.get("count")) + 1)


threads = [threading.Thread(target=count) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert db.get("count") == b"80"
