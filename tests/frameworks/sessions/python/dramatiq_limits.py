"""dramatiq: its rate limiters: concurrent, bucket and window."""
import os

from dramatiq import RateLimitExceeded
from dramatiq.rate_limits import BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend
from eventually import eventually

backend = RedisBackend(url=os.environ["REDIS_URL"])


def passes(limiter):
    try:
        with limiter.acquire():
            return True
    except RateLimitExceeded:
        return False


two = ConcurrentRateLimiter(backend, "two", limit=2)
with two.acquire(), two.acquire():
    assert not passes(two)
assert passes(two)
few = BucketRateLimiter(backend, "few", limit=3, bucket=60_000)
assert [passes(few) for _ in range(4)] == [True, True, True, False]
soon = BucketRateLimiter(backend, "soon", limit=1, bucket=200)
eventually(lambda: not passes(soon), "refused")
eventually(lambda: passes(soon), "allowed after the window")
window = WindowRateLimiter(backend, "window", limit=3, window=60)
assert [passes(window) for _ in range(4)] == [True, True, True, False]
