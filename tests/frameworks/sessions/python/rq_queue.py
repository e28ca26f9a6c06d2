"""rq: a queue of jobs, which are hashes."""
import os

from redis import Redis
from rq import Queue, SimpleWorker

db = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue(connection=db)
job = queue.enqueue("operator.add", 2, 3)
SimpleWorker([queue], connection=db).work(burst=True)
assert job.return_value() == 5
