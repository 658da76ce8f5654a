"""Run a `milepost` command with a clock that is wrong by SECONDS: `python -m chaos.skewed_clock SECONDS serve …`.

The clock of a process cannot be moved without privileges, so what Python programs ask is: `time.time`, `time.time_ns`
and `datetime.now`. Monotonic clocks stay, as they do when a machine's wall clock is wrong.
"""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any, Final

_BILLION: Final = 1_000_000_000


_Datetime = datetime.datetime


class _AnyDatetime(type):
    """Every datetime is an instance, whichever of the two classes made it."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Datetime)


def skew(seconds: float) -> None:
    """Move this process's wall clock. Before anything is imported that keeps a reference to it."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * _BILLION)
    moved = datetime.timedelta(seconds=seconds)

    class SkewedDatetime(_Datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:  # noqa: ANN401 - plain ones, as all others are
            return _Datetime.now(tz) + moved

    datetime.datetime = SkewedDatetime  # type: ignore[misc]


def main() -> None:
    """Skew, then run."""
    skew(float(sys.argv[1]))
    from milepost.cli import main as milepost

    sys.argv = ["milepost", *sys.argv[2:]]
    milepost()


if __name__ == "__main__":
    main()
