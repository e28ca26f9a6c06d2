"""celery: the result backend: states, results, groups, expiry, with a worker."""
import os

from celery import Celery, group
from celery.result import AsyncResult

app = Celery("app", broker="memory://", backend=os.environ["REDIS_URL"] + "/7")
app.conf.result_expires = 1000
app.conf.task_ignore_result = False


@app.task
def add(a, b):
    return a + b


backend = app.backend
assert AsyncResult("none").state == "PENDING"
backend.store_result("one", 7, "SUCCESS")
assert AsyncResult("one").get(timeout=5) == 7 and backend.client.ttl(backend.get_key_for_task("one")) > 900
backend.store_result("bad", ValueError("no"), "FAILURE")
try:
    AsyncResult("bad").get(timeout=5)
    raise AssertionError("no ValueError")
except ValueError:
    pass
backend.store_result("two", None, "STARTED")
assert AsyncResult("two").state == "STARTED"
AsyncResult("one").forget()
assert AsyncResult("one").state == "PENDING"

# A worker in this process takes the messages of the broker in memory.
from celery.contrib.testing.worker import start_worker  # noqa: E402 # it needs the tasks

with start_worker(app, pool="solo", perform_ping_check=False):
    assert add.delay(2, 3).get(timeout=20) == 5
    assert group(add.s(n, n) for n in range(3))().get(timeout=20) == [0, 2, 4]
