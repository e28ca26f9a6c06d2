"""valkey: pipelines with WATCH, scripts, pub/sub, numbered databases, SCAN, Lock."""
import os

import valkey
from redis_session import session

session(valkey)
db = valkey.Valkey.from_url(os.environ["REDIS_URL"])
mine, other = db.lock("job", timeout=30), db.lock("job", timeout=30)
assert mine.acquire(blocking=False) and not other.acquire(blocking=False) and mine.extend(30)
mine.release()
with other:
    assert db.pttl("job") > 25000
