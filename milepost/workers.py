"""Several processes of the service on one port, kept alive by the one that started them.

The parent binds the port once and the workers share it, so a worker that starts anew loses no connection that
waits. A worker ends when its parent does; one that crashes is started again, later and later.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from milepost import logs
from milepost.backoff import Backoff
from milepost.errors import CommandError

if TYPE_CHECKING:
    from milepost.serve import ServeSettings

logger = logging.getLogger(__name__)

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
_HEALTHY_AFTER: Final = 30.0
"""A worker that ran this long had no trouble starting."""
_PATIENCE: Final = 5.0
"""Beyond what leaving in good order takes, before a worker is killed."""

_context = multiprocessing.get_context("spawn")


def _work(settings: ServeSettings, listener: socket.socket, ready: Connection) -> None:
    """A worker's whole life."""
    from milepost.serve import run

    logs.configure(settings.log_level, settings.log_format)
    run(settings, listener, ready=lambda: ready.send(True))


class Worker:
    """One place of the pool: its process, or the time when the next one starts."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: SpawnProcess | None = None
        self.ready = False
        self.retry_at = 0.0
        self.news: Connection | None = None
        self._started_at = 0.0
        self._backoff = Backoff(first=FIRST_WAIT, most=LONGEST_WAIT)

    def start(self, settings: ServeSettings, listener: socket.socket) -> None:
        """Start its process."""
        self.news, theirs = _context.Pipe(duplex=False)
        # one watches for all: it is started again when it ends, like every other
        settings = settings._replace(watchdog=settings.watchdog and self.number == 1)
        self.process = _context.Process(
            target=_work, args=(settings, listener, theirs), name=f"milepost-worker-{self.number}"
        )
        self.process.start()
        theirs.close()
        self.ready = False
        self._started_at = time.monotonic()

    def hear(self) -> None:
        """Its process has said that it serves, or has closed the pipe."""
        if self.news is None:
            return
        with contextlib.suppress(EOFError):
            self.ready = self.news.recv()
        self.news.close()
        self.news = None

    def bury(self) -> int | None:
        """Its process has ended; returns how."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.join()
        status, pid = process.exitcode, process.pid
        process.close()
        if self.news is not None:
            self.news.close()
            self.news = None
        _forget_metrics(pid)
        if time.monotonic() - self._started_at >= _HEALTHY_AFTER:
            self._backoff.reset()
        self.retry_at = time.monotonic() + self._backoff.next()
        return status


class Workers:
    """`count` workers on one listening socket."""

    def __init__(self, settings: ServeSettings, listener: socket.socket, count: int) -> None:
        self._settings = settings
        self._listener = listener
        self._workers = [Worker(number) for number in range(1, count + 1)]
        self._stopping = False
        self._announced = False

    def run(self, *, ready: Callable[[], None]) -> None:
        """Serve until SIGINT or SIGTERM. CommandError when no worker ever came to serve."""
        with _metrics_directory(), _stop_signals() as stopped:
            # the parent never accepts, but listens: nobody is refused while workers come and go
            self._listener.listen(2048)
            try:
                while not stopped.poll(0):
                    self._start_due()
                    self._attend(stopped)
                    self._announce(ready)
            finally:
                self._end_all()

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if worker.process is None and worker.retry_at <= now:
                worker.start(self._settings, self._listener)

    def _attend(self, stopped: Connection) -> None:
        """Wait for whatever happens next, and see to it."""
        now = time.monotonic()
        due = [worker.retry_at - now for worker in self._workers if worker.process is None]
        sentinels = {worker.process.sentinel: worker for worker in self._workers if worker.process is not None}
        news = {worker.news: worker for worker in self._workers if worker.news is not None}
        happened: list[Any] = wait([stopped, *sentinels, *news], timeout=max(min(due), 0) if due else None)
        for item in happened:
            if item in news:
                news[item].hear()
        for item in happened:
            if item in sentinels:
                self._crashed(sentinels[item])

    def _crashed(self, worker: Worker) -> None:
        status = worker.bury()
        if not self._announced and not any(each.ready for each in self._workers):
            raise CommandError(f"worker {worker.number} ended with {status} before it served; its log says why")
        seconds = max(worker.retry_at - time.monotonic(), 0)
        logger.error("worker %d ended with %s; starting it again in %.1f s", worker.number, status, seconds)

    def _announce(self, ready: Callable[[], None]) -> None:
        if not self._announced and all(worker.ready for worker in self._workers):
            self._announced = True
            ready()

    def _end_all(self) -> None:
        """SIGTERM for all at once, SIGKILL for who does not listen."""
        processes = [worker.process for worker in self._workers if worker.process is not None]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self._settings.exit_seconds + _PATIENCE
        for process in processes:
            process.join(max(deadline - time.monotonic(), 0))
            if process.is_alive():
                logger.warning("%s does not end; it is killed", process.name)
                process.kill()
        for worker in self._workers:
            worker.bury()


@contextlib.contextmanager
def _metrics_directory() -> Iterator[None]:
    """Where the workers' counters lie side by side, to be added up by whichever is asked."""
    with tempfile.TemporaryDirectory(prefix="milepost-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _forget_metrics(pid: int | None) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _stop_signals() -> Iterator[Connection]:
    """Readable once SIGINT or SIGTERM has come."""
    from milepost.service import SIGNALS

    reader, writer = _context.Pipe(duplex=False)

    def stop(_number: int, _frame: FrameType | None) -> None:
        writer.send(True)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()
