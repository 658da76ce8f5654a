"""`RunProgress`: the reporter of one run in a worker, over the connection that all runs share."""

from __future__ import annotations

from typing import Self

from milepost_reporter.ending import Ending
from milepost_reporter.event import JOB
from milepost_reporter.payload import MAX_MESSAGE
from milepost_reporter.sender import Sender
from milepost_reporter.settings import Settings
from pydantic_core import from_json

from milepost_runner.events import Events, RunSender
from milepost_runner.executor import Outcome
from milepost_runner.progress import Progress

_NULL = b"null"


class RunProgress(Progress):
    """What the worker tells of a run, beside what its handler reports."""

    _events: Events
    _will_retry = False

    @classmethod
    def of(cls, settings: Settings, events: Events) -> Self:
        """The reporter of the run that `settings` say."""
        progress = cls.from_settings(settings)
        progress._events = events
        return progress

    @property
    def said(self) -> tuple[float | None, str | None]:
        """Fraction and message, as last reported."""
        return self._said

    def begin(self) -> None:
        """Tell that the run has begun, ahead of all that its handler reports; nothing is sent before `release`."""
        self._begin()

    def release(self) -> None:
        """Begin to send."""
        self._run_sender.release()

    def tell_cancelling(self) -> None:
        """Tell that the run was told to stop."""
        if self._open():
            self._put(JOB, self._job_event("cancelling"))

    async def finish(self, outcome: Outcome, message: str | None, *, will_retry: bool) -> None:
        """Tell result and end, and return when the end is stored."""
        if outcome.result != _NULL:
            self.result(from_json(outcome.result))
        self._will_retry = will_retry
        # Whoever has written the reason into the record, it is no reason not to tell the end.
        message = message[:MAX_MESSAGE] if message is not None else None
        self._end(Ending(outcome.status, message, outcome.error))
        self.take_back()
        await self._run_sender.ended()

    def abandon(self) -> None:
        """Say no more: the run is somebody else's, or is given back."""
        self._closed = True
        if isinstance(self._sender, RunSender):
            self._sender.drop()

    @property
    def _run_sender(self) -> RunSender:
        assert isinstance(self._sender, RunSender)  # noqa: S101 - the run's begin has made it
        return self._sender

    def _new_sender(self) -> Sender:
        assert self._settings is not None  # noqa: S101 - nothing is sent when disabled
        return self._events.sender(self._settings, self.id, self._outbox, self._sample)

    def _job_event(self, status: str, message: str | None = None, error: dict[str, str] | None = None) -> bytes:
        event = super()._job_event(status, message, error)
        return event[:-1] + b',"willRetry":true}' if self._will_retry else event
