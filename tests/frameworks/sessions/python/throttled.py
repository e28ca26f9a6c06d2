"""throttled-py: GCRA, fixed and sliding windows; waiting for a turn."""
import os
import time

from eventually import eventually
from throttled import RateLimiterType, Throttled, exceptions, per_min, per_sec, store

server = store.RedisStore(server=os.environ["REDIS_URL"])
for using in (RateLimiterType.FIXED_WINDOW, RateLimiterType.SLIDING_WINDOW, RateLimiterType.GCRA):
    kind = using.value
    three = Throttled(key=kind, using=kind, quota=per_min(3, burst=3), store=server)
    assert [three.limit().limited for _ in range(4)] == [False, False, False, True], kind
    assert three.peek(kind).remaining == 0 and not three.limit("another").limited
    soon = Throttled(key=f"{kind}:soon", using=kind, quota=per_sec(1, burst=1), store=server)
    eventually(lambda: soon.limit().limited, f"{kind}: refused")
    eventually(lambda: not soon.limit().limited, f"{kind}: allowed after the window")


@Throttled(key="view", using="gcra", quota=per_min(1, burst=1), store=server)
def view():
    return "seen"


assert view() == "seen"
try:
    view()
    raise AssertionError("not limited")
except exceptions.LimitedError:
    pass
waiting = Throttled(key="wait", using="gcra", quota=per_sec(5, burst=1), store=server, timeout=5)
begin = time.monotonic()
assert not any(waiting.limit().limited for _ in range(3)) and time.monotonic() - begin > 0.3
