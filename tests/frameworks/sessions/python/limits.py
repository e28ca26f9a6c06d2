"""limits: fixed and sliding windows, with and without asyncio; get_window_stats, clear."""
import asyncio
import os

import limits
from eventually import eventually
from limits.aio import strategies as aio_strategies
from limits import strategies

url = os.environ["REDIS_URL"]
store = limits.storage.storage_from_string(url)
assert store.check()
three = limits.parse("3/minute")
for strategy in (strategies.FixedWindowRateLimiter, strategies.SlidingWindowCounterRateLimiter):
    limiter, name = strategy(store), strategy.__name__
    assert limiter.test(three, name) and [limiter.hit(three, name) for _ in range(4)] == [True, True, True, False], name
    assert not limiter.test(three, name) and limiter.get_window_stats(three, name).remaining == 0
    assert limiter.hit(three, name, "another")
    limiter.clear(three, name)
    assert limiter.hit(three, name, cost=2) and not limiter.hit(three, name, cost=2)
    soon = limits.parse("1/second")
    eventually(lambda: not limiter.hit(soon, name), "refused")
    eventually(lambda: limiter.hit(soon, name), "allowed after the window")
assert store.reset() > 0


async def main():
    store = limits.storage.storage_from_string(f"async+{url}", implementation="redispy")
    for strategy in (aio_strategies.FixedWindowRateLimiter, aio_strategies.SlidingWindowCounterRateLimiter):
        limiter, name = strategy(store), strategy.__name__ + "aio"
        hits = await asyncio.gather(*(limiter.hit(three, name) for _ in range(10)))
        assert sum(hits) == 3, (name, hits)
        assert (await limiter.get_window_stats(three, name)).remaining == 0


asyncio.run(main())
