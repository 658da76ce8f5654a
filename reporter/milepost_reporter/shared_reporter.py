"""`SharedReporter`: a reporter without a thread of its own, for one of many jobs in a process."""

import json
from typing import Final, Self

from milepost_reporter import shared_link
from milepost_reporter.ending import Ending
from milepost_reporter.event import JOB, QUEUED
from milepost_reporter.payload import encode
from milepost_reporter.reporter import Reporter
from milepost_reporter.sender import Sender
from milepost_reporter.settings import Settings
from milepost_reporter.shared_link import SharedSender

MAX_RESULT: Final = 16_384
"""Characters of a returned value's JSON; a larger one is not told."""


class SharedReporter(Reporter):
    """As `Reporter`, over the process's `shared_link`. `close()` does not wait: the process's end does."""

    _alone = True
    _will_retry = False

    @classmethod
    def of(cls, settings: Settings | None, *, owner: bool = True, alone: bool = True) -> Self:
        """Does nothing without settings.

        owner: whether it speaks for the job itself.
        alone: whether the job is known to have no other reporter: a short one needs no state record then.
        """
        reporter = cls.from_settings(settings, owner=owner)
        reporter._alone = alone
        return reporter

    def finish(self, ending: Ending, *, will_retry: bool = False) -> None:
        """End the job's run, whoever began it; `will_retry`: another run follows. Then send what is left."""
        self._will_retry = will_retry
        try:
            self.harmless("end", self._end, ending)
        finally:
            self.begin_close()

    def finish_later(self, seconds: float, ending: Ending) -> None:
        """The same after a while, or when the process ends: what others tell of this run until then is not late."""
        # Its lane is made now: as the process ends, there are no new ones.
        if self._settings is not None and not self._closed and self._start() is not None:
            self.harmless("end", shared_link.of(self._settings).later, seconds, lambda: self.finish(ending))

    def hand_over(self, message: str) -> None:
        """Another reporter will end the run: promise that no more, and say so in an event without a lease."""
        if isinstance(self._sender, SharedSender):
            self._sender.withdraw()
        self.log(message)

    def returned(self, value: object) -> None:
        """Tell what a task returned as the result, where that is small JSON and not None."""
        if value is not None and _is_small(value):
            self.result(value)

    def queued(self, at: str) -> None:
        """Tell that the job has waited since `at`, RFC 3339, ahead of its start."""
        self.harmless("queued", self._queued, at)

    def close(self, timeout: float | None = None) -> bool:
        """Take no more; what is left is sent. Whether all has arrived by now."""
        self.begin_close(timeout)
        return not len(self._outbox) if self._sender is None else self._sender.idle

    def forked(self) -> None:
        """In a child process: as every reporter; now there are two."""
        self._alone = False
        super().forked()

    def _queued(self, at: str) -> None:
        if self._settings is not None and self._open():
            fields = {"kind": JOB, "status": QUEUED, "run": self.run, "name": self._settings.name, "at": at}
            self._put(JOB, encode(fields))

    def _new_sender(self) -> Sender:
        assert self._settings is not None  # noqa: S101 - nothing is sent when disabled
        link = shared_link.of(self._settings)
        return link.sender(
            self._settings,
            self.id,
            self._outbox,
            self._sample,
            self._speaks,
            owner=self._owner,
            alone=self._alone,
        )

    def _job_event(self, status: str, message: str | None = None, error: dict[str, str] | None = None) -> bytes:
        event = super()._job_event(status, message, error)
        return event[:-1] + b',"willRetry":true}' if self._will_retry else event


def _is_small(value: object) -> bool:
    size = 0
    try:
        # piece by piece: of a large value no more is looked at than could be told
        for piece in json.JSONEncoder(allow_nan=False).iterencode(value):
            size += len(piece)
            if size > MAX_RESULT:
                return False
    except (TypeError, ValueError, RecursionError):
        return False
    return True
