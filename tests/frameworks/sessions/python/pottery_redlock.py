"""pottery: Redlock with extend and release; NextID."""
import os

from eventually import eventually
from pottery import NextID, Redlock
from pottery.exceptions import ReleaseUnlockedLock
from redis import Redis

masters = {Redis.from_url(f"{os.environ['REDIS_URL']}/{number}") for number in range(3)}
mine = Redlock(key="job", masters=masters, auto_release_time=20)
other = Redlock(key="job", masters=masters, auto_release_time=20)
assert mine.acquire(blocking=False) and not other.acquire(blocking=False)
assert 15 < mine.locked() <= 20 and not other.acquire(timeout=0.2)
mine.extend()
assert mine.locked() > 15
try:
    other.release()
    raise AssertionError("a lock of another")
except ReleaseUnlockedLock:
    pass
mine.release()
assert not mine.locked()
with other:
    assert not mine.acquire(blocking=False)

short = Redlock(key="job", masters=masters, auto_release_time=0.2)
assert short.acquire(blocking=False)
eventually(lambda: mine.acquire(blocking=False), "a lock expires")
mine.release()

numbers = NextID(key="tweets", masters=masters)
assert [next(numbers) for _ in range(3)] == [1, 2, 3]
