"""celery-singleton: a task that waits already is not queued again."""
import os

from celery import Celery
from celery_singleton import DuplicateTaskError, Singleton, clear_locks

app = Celery("app", broker="memory://", backend=os.environ["REDIS_URL"] + "/7")
app.conf.singleton_backend_url = os.environ["REDIS_URL"] + "/7"


@app.task(base=Singleton, lock_expiry=100)
def add(a, b):
    return a + b


@app.task(base=Singleton, raise_on_duplicate=True)
def once():
    return 1


first = add.delay(2, 3)
assert add.delay(2, 3).id == first.id and add.delay(2, 4).id != first.id
once.delay()
try:
    once.delay()
    raise AssertionError("no DuplicateTaskError")
except DuplicateTaskError:
    pass
clear_locks(app)
assert once.delay().id

# A worker that has run it lets it be queued again.
from celery.contrib.testing.worker import start_worker  # noqa: E402 # it needs the tasks

with start_worker(app, pool="solo", perform_ping_check=False):
    assert first.get(timeout=20) == 5
    again = add.delay(2, 3)
    assert again.id != first.id and again.get(timeout=20) == 5
