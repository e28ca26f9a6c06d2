"""walrus: its Lock, which waits for a release in a list."""
import os

from walrus import Database

db = Database.from_url(os.environ["REDIS_URL"])
mine, other = db.lock("job", ttl=30000), db.lock("job", ttl=30000)
assert mine.acquire(block=False) and not other.acquire(block=False)
assert mine.release() and other.acquire(block=False) and other.release()
