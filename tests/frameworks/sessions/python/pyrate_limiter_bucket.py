"""pyrate-limiter: RedisBucket, which keeps the times of requests in a sorted set."""
import os

from pyrate_limiter import Duration, Limiter, Rate, RedisBucket
from redis import Redis

limiter = Limiter(RedisBucket.init([Rate(3, Duration.MINUTE)], Redis.from_url(os.environ["REDIS_URL"]), "bucket"))
assert [limiter.try_acquire("user", blocking=False) for _ in range(4)] == [True, True, True, False]
