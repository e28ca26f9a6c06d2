"""huey: a queue of tasks with results, which is a list, with a hash and sorted sets."""
import os

from huey import RedisHuey

huey = RedisHuey("app", url=os.environ["REDIS_URL"], blocking=False)


@huey.task()
def add(a, b):
    return a + b


result = add(2, 3)
huey.execute(huey.dequeue())
assert result() == 5
