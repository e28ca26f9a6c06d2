"""dramatiq: its result backend, which keeps each result in a list."""
import os

import dramatiq
from dramatiq.brokers.stub import StubBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = StubBroker()
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"])))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def add(a, b):
    return a + b


worker = dramatiq.Worker(broker)
worker.start()
try:
    assert add.send(2, 3).get_result(block=True, timeout=10_000) == 5
finally:
    worker.stop()
