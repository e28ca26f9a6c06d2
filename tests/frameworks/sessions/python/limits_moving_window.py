"""limits: the moving window, which keeps the times of requests in a list."""
import os

import limits

limiter = limits.strategies.MovingWindowRateLimiter(limits.storage.storage_from_string(os.environ["REDIS_URL"]))
three = limits.parse("3/minute")
assert [limiter.hit(three, "user") for _ in range(4)] == [True, True, True, False]
assert limiter.get_window_stats(three, "user").remaining == 0
