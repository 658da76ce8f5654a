"""The tasks of the tests' workers."""

# mypy: disable-error-code="untyped-decorator, misc"

import functools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chord, group
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.local import Proxy
from milepost_reporter.cancel import Cancelled
from milepost_reporter.celery import report_tasks
from milepost_reporter.current import current

REDIS = "MILEPOST_TEST_REDIS"
FOLDER = "MILEPOST_TEST_FOLDER"
TENANT = "acme"
CANCEL = "MILEPOST_TEST_CANCEL"

_url = os.environ.get(REDIS, "redis://127.0.0.1:1/0")
app = Celery("tests", broker=_url, backend=_url)
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    task_default_retry_delay=0,
    worker_hijack_root_logger=False,
    broker_transport_options={"visibility_timeout": 3600},
)


def tenant_of(request: Any) -> str:  # noqa: ANN401 - Celery's Context
    """As people write it: by what the task is called with."""
    return str(request.kwargs.get("tenant", TENANT))


_apply_tasks = group._apply_tasks


@functools.wraps(_apply_tasks)
def _as_another_library_wraps_it(*values: Any, **named: Any) -> Any:  # noqa: ANN401
    return _apply_tasks(*values, **named)


group._apply_tasks = _as_another_library_wraps_it
# By a stand-in, as `celery.current_app` is one.
report_tasks(Proxy(lambda: app), tenant=tenant_of, cancel=bool(os.environ.get(CANCEL)))


def _file(name: str) -> Path:
    return Path(os.environ[FOLDER]) / name


def _wait(name: str, seconds: float = 30) -> None:
    """Until the test has made this file."""
    deadline = time.monotonic() + seconds
    while not _file(name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(name)
        time.sleep(0.01)


@app.task(name="add")
def add(*numbers: int) -> int:
    return sum(numbers)


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="nothing")
def nothing(*_: object) -> None:
    return None


@app.task(name="returns")
def returns(value: object) -> object:
    return value


@app.task(name="fails")
def fails(*_: object, **__: object) -> None:
    raise ValueError("no such row")


@app.task(name="steps", bind=True)
def steps(self: Task, metas: list[dict[str, Any]]) -> dict[str, Any]:
    for meta in metas:
        self.update_state(state="PROGRESS", meta=meta)
    found: dict[str, Any] = app.AsyncResult(self.request.id).info
    return found


class _Limited(dict[str, Any]):
    """Where it is read the soft time limit is over."""

    def get(self, *_: object) -> Any:  # noqa: ANN401
        raise SoftTimeLimitExceeded

    __iter__ = get


@app.task(name="hears_its_limit", bind=True)
def hears_its_limit(self: Task) -> int:
    """How often."""
    heard = 0
    for say in (lambda: self.update_state(state="PROGRESS", meta=_Limited()), lambda: current().plan(_Limited())):
        try:
            say()
        except SoftTimeLimitExceeded:
            heard += 1
    return heard


class _OwnState(Task):
    """As people write it."""

    def update_state(self, *, state: str, done: int) -> None:
        super().update_state(state=state, meta={"done": done})


@app.task(name="owns_its_state", bind=True, base=_OwnState)
def owns_its_state(self: _OwnState) -> str:
    self.update_state(state="PROGRESS", done=1)
    return "done"


@app.task(name="waits")
def waits(name: str) -> int:
    _file(f"{name}.began").write_text(str(os.getpid()))
    _wait(name)
    return os.getpid()


@app.task(name="flaky", bind=True, max_retries=2)
def flaky(self: Task, good: int) -> int:
    if self.request.retries < good:
        raise self.retry(exc=OSError("not yet"), countdown=0.5)
    return int(self.request.retries)


@app.task(name="dies")
def dies(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="dies_once", acks_late=True, reject_on_worker_lost=True)
def dies_once(name: str) -> str:
    place = _file(name)
    if not place.exists():
        place.touch()
        current().log("going")
        _wait(f"{name}.seen")
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@app.task(name="times_out_once", acks_late=True, acks_on_failure_or_timeout=False, time_limit=1)
def times_out_once(name: str) -> str:
    place = _file(name)
    if not place.exists():
        place.touch()
        time.sleep(30)
    return "in time"


@app.task(name="looks")
def looks(name: str) -> None:
    token = current().cancellation
    _file(f"{name}.began").touch()
    token.wait(30)
    token.raise_if_requested()


@app.task(name="stops_itself")
def stops_itself() -> None:
    raise Cancelled


@app.task(name="logs")
def logs(line: str) -> str:
    job = current()
    job.log(line)
    for _ in job.track(range(3), "Rows"):
        pass
    return job.job


@app.task(name="gives_up", bind=True)
def gives_up(self: Task, state: str) -> None:
    self.update_state(state=state, meta={})
    raise Ignore


@app.task(name="refuses")
def refuses() -> None:
    raise Reject("not for me", requeue=False)


@app.task(name="hands_on", bind=True)
def hands_on(self: Task, how: str) -> None:
    raise self.replace({"chain": add.s(1) | add.s(2), "task": add.s(1, 2), "group": group(add.s(1), add.s(2))}[how])


@app.task(name="calls", bind=True)
def calls(self: Task, how: str) -> list[str]:
    if how == "chain":
        called = (add.s(1) | add.s(2)).delay()
        return [called.parent.id, called.id]
    if how == "chord":
        called = chord([add.s(1), add.s(2)], total.s()).delay()
        return [called.parent.id, called.id]
    if how == "group":
        return [str(group(add.s(1), add.s(2)).delay().id)]
    if how == "eager":
        return [str(flaky.apply((1,)).id)]
    return [str(add.delay(1).id)]


@app.task(name="threads")
def threads() -> int:
    return threading.active_count()
