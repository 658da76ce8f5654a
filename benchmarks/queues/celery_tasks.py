"""The no-op job under Celery."""

import os

from celery import Celery

from benchmarks.queues.starts import note

URL = "MILEPOST_BENCH_REDIS"

_url = os.environ.get(URL, "redis://127.0.0.1:6379/0")
app = Celery("noop", broker=_url, backend=_url)
app.conf.worker_prefetch_multiplier = 4
app.conf.broker_connection_retry_on_startup = True


@app.task(name="noop")  # type: ignore[untyped-decorator] # Celery has no types
def noop(number: int) -> None:
    note(number)
