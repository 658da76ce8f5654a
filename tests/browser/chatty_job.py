"""A job that writes numbered lines until it is told to end."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from milepost_reporter import Reporter

_BETWEEN = 0.02
"""Seconds that a line takes the job."""


class ChattyJob:
    """Under way from `with` on, in a thread of its own."""

    def __init__(self, nats_url: str, tenant: str, job: str) -> None:
        self.written = 0
        self._finish = threading.Event()
        self._speaks = threading.Event()
        self._speaks.set()
        self._reporter = Reporter(nats_url=nats_url, tenant=tenant, job=job, name="Chatter")
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
        self._reporter.close(timeout=30)

    @property
    def lines(self) -> list[str]:
        """What it has written."""
        return [f"line {number}" for number in range(self.written)]

    def pause(self) -> None:
        """Say nothing, and be well."""
        self._speaks.clear()

    def resume(self) -> None:
        """Go on."""
        self._speaks.set()

    def finish(self) -> None:
        """End it, as completed."""
        self._finish.set()
        self._speaks.set()
        self._thread.join()

    def _run(self) -> None:
        with self._reporter as job, job.node(1, "Lines", unit="lines") as node:
            while not self._finish.wait(_BETWEEN):
                self._speaks.wait()
                job.log(f"line {self.written}")
                node.advance()
                self.written += 1
