"""portalocker: RedisLock, which holds a channel as long as its connection lives."""
import os

import portalocker
from eventually import eventually
from redis import Redis

db = Redis(host=os.environ["REDIS_HOST"], port=int(os.environ["REDIS_PORT"]), health_check_interval=10)
mine = portalocker.RedisLock("job", connection=db, timeout=1, check_interval=0.05)
other = portalocker.RedisLock("job", connection=db, timeout=0.2, check_interval=0.05)
mine.acquire()
try:
    other.acquire()
    raise AssertionError("a lock of another")
except portalocker.AlreadyLocked:
    pass
mine.release()
eventually(lambda: db.pubsub_numsub("job") == [(b"job", 0)], "the channel is free")
with other:
    assert db.pubsub_numsub("job") == [(b"job", 1)]
