"""throttled-py: token bucket and leaking bucket, which it keeps in hashes."""
import os

from throttled import Throttled, per_min, store

server = store.RedisStore(server=os.environ["REDIS_URL"])
for kind in ("token_bucket", "leaking_bucket"):
    three = Throttled(key=kind, using=kind, quota=per_min(3, burst=3), store=server)
    assert [three.limit().limited for _ in range(4)] == [False, False, False, True], kind
