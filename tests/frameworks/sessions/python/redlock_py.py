"""redlock-py: lock and unlock in three databases."""
import os

from eventually import eventually
from redlock import Redlock

manager = Redlock([{"host": os.environ["REDIS_HOST"], "port": int(os.environ["REDIS_PORT"]), "db": number} for number in range(3)], retry_count=1)
mine = manager.lock("job", 30000)
assert mine and 29000 < mine.validity <= 30000 and manager.lock("job", 1000) is False
manager.unlock(mine._replace(key="another"))
assert manager.lock("job", 1000) is False
manager.unlock(mine)
assert manager.lock("job", 300)
eventually(lambda: manager.lock("job", 1000), "a lock expires")
