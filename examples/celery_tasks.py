# mypy: disable-error-code="untyped-decorator"
"""Celery's tasks as jobs: run as a program, it calls a task and a canvas, and says what they came to.

The worker needs NATS_URL and MILEPOST_TENANT, as every job program; CELERY_URL is the broker and the result backend.
"""

import os
import sys
import time

from celery import Celery, Task, chord
from milepost_reporter.celery import report_tasks
from milepost_reporter.current import current

URL = os.environ.get("CELERY_URL", "redis://127.0.0.1:6379/0")

app = Celery("shop", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True
report_tasks(app)


@app.task(name="resize", bind=True)
def resize(self: Task, pictures: int) -> int:
    """Say how far it is, as Celery's own guide shows it."""
    for done in range(1, pictures + 1):
        time.sleep(0.02)
        self.update_state(state="PROGRESS", meta={"current": done, "total": pictures, "status": f"picture {done}"})
    current().log(f"{pictures} pictures are smaller")
    return pictures


@app.task(name="publish")
def publish(resized: list[int]) -> int:
    """What follows when all of them are done."""
    return sum(resized)


def main() -> None:
    """Call one task by itself, and a chord: two tasks, and what follows them."""
    alone = resize.delay(3)
    sys.stdout.write(f"resize came to {alone.get()}: job {alone.id}\n")
    together = chord([resize.s(10), resize.s(20)], publish.s()).delay()
    sys.stdout.write(f"the chord came to {together.get()}: job {together.parent.id}\n")
    app.close()


if __name__ == "__main__":
    main()
