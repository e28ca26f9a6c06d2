"""celery: a chord, whose parts the result backend keeps in a sorted set."""
import os

from celery import Celery, chord
from celery.contrib.testing.worker import start_worker

app = Celery("app", broker="memory://", backend=os.environ["REDIS_URL"])


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


with start_worker(app, pool="solo", perform_ping_check=False):
    assert chord(add.s(n, n) for n in range(3))(total.s()).get(timeout=20) == 6
