"""`LogHandler`: the standard library's log records as the job's log lines."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from milepost_reporter import current
from milepost_reporter.payload import MAX_MESSAGE

if TYPE_CHECKING:
    from milepost_reporter.reporter import Reporter

_OURS: Final = ("milepost_reporter", "nats")
"""Loggers whose records would be about the telling of records."""

_CUT: Final = "\n…\n"

_ASLEEP: Final = threading.local()
"""Of a thread that is inside a handler: what comes of that is not handled again."""


class LogHandler(logging.Handler):
    """Tells each record as a line of the job's log; of `reporter`, or else of the code that logs.

    At most `rate` a second over ten seconds; then records are left out, and a line says so and how many. A record's
    text with its exception is cut in its middle to 4,096 characters. Nothing raises, and nothing waits.
    """

    def __init__(
        self, level: int | str = logging.NOTSET, reporter: Reporter | None = None, *, rate: float = 50
    ) -> None:
        super().__init__(level)
        self._reporter: Final = reporter
        self._allowance: Final = _Allowance(rate)

    def handle(self, record: logging.LogRecord) -> bool:
        """Tell one record, if it is one to be told.

        Ours never wait for the lock: we may warn while we hold one that whoever is in here waits for.
        """
        return not _is_about_us(record) and bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record; `handle` has the lock."""
        if getattr(_ASLEEP, "here", False):
            return
        _ASLEEP.here = True
        try:
            self._tell(record)
        except Exception as error:
            with contextlib.suppress(Exception):
                self._current().refuse("log handler", error)
        finally:
            _ASLEEP.here = False

    def flush(self) -> None:
        """Say how many records were left out and not told of."""
        with contextlib.suppress(Exception):
            if missed := self._allowance.missed():
                self._tell_missed(self._current(), missed)

    def _current(self) -> Reporter:
        return self._reporter or current.current()

    def _tell(self, record: logging.LogRecord) -> None:
        reporter = self._current()
        if not reporter.enabled:
            return
        if not self._allowance.take(time.monotonic()):
            if self._allowance.left_out == 1:
                reporter.log(f"more than {self._allowance.rate:g} log records a second: some are left out", "warning")
            return
        if missed := self._allowance.missed():
            self._tell_missed(reporter, missed)
        reporter.log(_shortened(self._text(record)), _level(record.levelno))

    def _tell_missed(self, reporter: Reporter, missed: int) -> None:
        reporter.log(f"{missed:,} log record{' was' if missed == 1 else 's were'} left out", "warning")

    def _text(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:
            # Arguments that do not fit its format are a mistake, and no reason to lose it.
            return f"{record.msg} {record.args!r} ({error})"


class _Allowance:
    """How many may go: `rate` a second, and what was saved up in ten seconds."""

    _SECONDS: Final = 10.0

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError(f"rate must be records a second, above 0, not {rate!r:.40}")
        self.rate: Final = rate
        self.left_out = 0
        self._most: Final = max(1.0, rate * self._SECONDS)
        self._saved = self._most
        self._at = 0.0

    def take(self, moment: float) -> bool:
        """Whether one may go now; else it is counted as left out. After that, a second's worth is waited for."""
        self._saved = min(self._most, self._saved + (moment - self._at) * self.rate)
        self._at = moment
        if self._saved < (max(1.0, self.rate) if self.left_out else 1.0):
            self.left_out += 1
            return False
        self._saved -= 1
        return True

    def missed(self) -> int:
        """How many were left out since this was asked last."""
        missed, self.left_out = self.left_out, 0
        return missed


def _is_about_us(record: logging.LogRecord) -> bool:
    """Whether it tells of what reporting itself does. asyncio's errors are about the program's own tasks."""
    top = record.name.partition(".")[0]
    return top in _OURS or (top == "asyncio" and record.levelno < logging.ERROR)


def _level(number: int) -> str:
    for least, level in ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info")):
        if number >= least:
            return level
    return "debug"


def _shortened(text: str) -> str:
    """Its beginning and its end: an exception has its point there."""
    if len(text) <= MAX_MESSAGE:
        return text
    half = (MAX_MESSAGE - len(_CUT)) // 2
    return text[:half] + _CUT + text[-half:]
