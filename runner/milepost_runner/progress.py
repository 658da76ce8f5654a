"""`Progress`: what a handler reports with."""

from __future__ import annotations

import json
from typing import Any

from milepost_reporter.cancel import CancelToken
from milepost_reporter.event import ENDS, PROGRESS
from milepost_reporter.outbox import Fields, Key
from milepost_reporter.payload import now
from milepost_reporter.reporter import Reporter
from milepost_reporter.settings import Settings


class Progress(Reporter):
    """The reporter of one run, and a function: `progress(0.5, "half way")`.

    `node`, `track`, `plan`, `log`, `artifact` are as in every job program, and `cancellation` is the handler's token.
    The runner tells start, result and end: `complete`, `fail` and `cancel` are refused, and neither `close` nor the end
    of a `with` block does anything.
    """

    # Until the handler is out, and not in a process that it forks: that one sends for itself.
    _lent = True

    def __call__(self, fraction: float | None = None, message: str | None = None) -> None:
        """How far the job as a whole is, 0..1, and one line for people. What is not given stays as it was."""
        self.report(fraction, message)

    @property
    def settings(self) -> Settings | None:
        """What a handle in another process is made with; None when disabled."""
        return self._settings

    def complete(self, message: str | None = None) -> None:
        """Refused: return, and the run has completed."""
        self._not_yours("complete")

    def fail(self, error: BaseException | str | None = None) -> None:
        """Refused: raise, and the run has failed."""
        self._not_yours("fail")

    def cancel(self, message: str | None = None) -> None:
        """Refused: raise `Cancelled`, and the run is cancelled."""
        self._not_yours("cancel")

    def close(self, timeout: float | None = None) -> bool:
        """Nothing, as long as the handler runs; True."""
        return self._lent or super().close(timeout)

    def begin_close(self, timeout: float | None = None) -> None:
        """Nothing, as long as the handler runs."""
        if not self._lent:
            super().begin_close(timeout)

    def forked(self) -> None:
        """In a child process: as every reporter."""
        self._lent = False
        super().forked()

    # For the runner

    def obey(self, cancel: CancelToken) -> None:
        """This is the token of the handler that reports here."""
        self._cancellation = cancel

    def take_back(self) -> None:
        """The handler is out: send what is left, and take no more. Does not wait."""
        self._lent = False
        self.begin_close()

    def _leave(self, error: BaseException | None) -> None:
        """The handler's `with` block has ended, no more."""

    def _not_yours(self, what: str) -> None:
        self.refuse(what, RuntimeError("the runner tells how a run ends: return or raise"))

    # For executors whose handlers run in another process

    def forward(self, kind: str, payload: bytes) -> None:
        """Tell an event of this run that another process has made, as if it had been told here."""
        self.harmless("forward", self._forward, kind, payload)

    def close_forwarded(self, status: str) -> None:
        """End the nodes that the other process has begun and left: they end as the handler did."""
        while self._forwarded:
            key, fields = self._forwarded.popitem()
            self.progress(key, {**fields, "status": status, "at": now()}, last=True)

    def _fresh(self) -> None:
        super()._fresh()
        # The newest progress of every node of the other process that has not ended.
        self._forwarded: dict[Key, Fields] = {}

    def _forward(self, kind: str, payload: bytes) -> None:
        if kind != PROGRESS:
            if self._open():
                self._put(kind, payload)
            return
        fields: dict[str, Any] = json.loads(payload)
        key = fields.get("nodeId")
        last = fields.get("status") in ENDS
        if last:
            self._forwarded.pop(key, None)
        elif key is not None:
            self._forwarded[key] = fields
        else:
            self._said = (fields.get("fraction"), fields.get("message"))
        self.progress(key, fields, last=last)
