"""A reporter that keeps its events in a list, for users' own tests."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from milepost_reporter.event import parse_event
from milepost_reporter.outbox import Outbox
from milepost_reporter.reporter import Reporter
from milepost_reporter.sender import Sender
from milepost_reporter.state import JobState

_ALL: Final = 1_000_000_000


class RecordingReporter(Reporter):
    """A `Reporter` without NATS. Nothing is conflated or dropped; a counter is read at its node's end."""

    def __init__(self, job: str | int = "test", *, tenant: str = "test", run: int = 1) -> None:
        super().__init__(nats_url="nats://recording.invalid:4222", tenant=tenant, job=job, run=run, interval=0)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event so far, as a reader would see its JSON."""
        return [json.loads(payload) for payload in self.payloads]

    @property
    def state(self) -> JobState:
        """What the events amount to."""
        state = JobState(self.job)
        for payload in self.payloads:
            state.apply(parse_event(payload), datetime.now(UTC))
        return state

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind: progress, job, log, artifact, plan or result."""
        return [json.loads(payload) for payload in self.payloads if parse_event(payload).kind == kind]

    @property
    def payloads(self) -> list[bytes]:
        """Every event so far, byte for byte."""
        sender = self._sender
        return list(sender.payloads) if isinstance(sender, _Recorder) else []

    def _new_sender(self) -> Sender:
        return _Recorder(self._outbox, self._sample)


class _Recorder:
    """Takes everything from the outbox at once, on the caller's thread."""

    def __init__(self, outbox: Outbox, sample: Callable[[], bool]) -> None:
        self._outbox = outbox
        self._sample = sample
        self.payloads: list[bytes] = []
        self.connected = True
        self.connections = 1
        self.refused = 0
        self.trouble = ""

    @property
    def sent(self) -> int:
        return len(self.payloads)

    @property
    def confirmed(self) -> int:
        return len(self.payloads)

    @property
    def idle(self) -> bool:
        return not len(self._outbox)

    def wake(self) -> None:
        while items := self._outbox.take(time.monotonic(), _ALL, _ALL):
            self.payloads.extend(item.payload for item in items)

    def listen(self, answer: Callable[[bytes], bytes]) -> None:
        """Nobody makes requests here but the test, of the token itself."""

    def close(self, timeout: float | None = None) -> None:
        self.wake()

    def join(self) -> None:
        return None
