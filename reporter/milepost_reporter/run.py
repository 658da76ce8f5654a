"""Runs and ends: which events of a job are live, which one is a run's end, and which come too late.

Source: protocol, *Runs and ends*. Every read path decides by this one rule, in log order:

- An event without a run belongs to the current one.
- The current run is the highest heard of. The `job` event that says so opens a run; when another event of
  that run overtakes it (a child process has a connection of its own), that one opens it. Opening a run closes
  the one before.
- The first terminal `job` event of a run is its end. What follows it, and everything of an older run, is
  late.
"""

from enum import Enum
from typing import Final

from milepost_reporter.event import Event


class Verdict(Enum):
    """What becomes of one event."""

    LIVE = "live"
    """It is shown, reduced, delivered."""

    END = "end"
    """The same, and it is the one end of its run."""

    LATE = "late"
    """It is counted and nothing else."""


class _Age(Enum):
    """An event's run beside the current one."""

    OLDER = "older"
    SAME = "same"
    NEWER = "newer"


_ENDED, _TERMINAL = True, True
_OPEN, _ORDINARY = False, False

_RULES: Final = {
    (_Age.OLDER, _OPEN, _ORDINARY): Verdict.LATE,
    (_Age.OLDER, _OPEN, _TERMINAL): Verdict.LATE,
    (_Age.OLDER, _ENDED, _ORDINARY): Verdict.LATE,
    (_Age.OLDER, _ENDED, _TERMINAL): Verdict.LATE,
    (_Age.SAME, _OPEN, _ORDINARY): Verdict.LIVE,
    (_Age.SAME, _OPEN, _TERMINAL): Verdict.END,
    (_Age.SAME, _ENDED, _ORDINARY): Verdict.LATE,
    (_Age.SAME, _ENDED, _TERMINAL): Verdict.LATE,
    (_Age.NEWER, _OPEN, _ORDINARY): Verdict.LIVE,
    (_Age.NEWER, _OPEN, _TERMINAL): Verdict.END,
    (_Age.NEWER, _ENDED, _ORDINARY): Verdict.LIVE,
    (_Age.NEWER, _ENDED, _TERMINAL): Verdict.END,
}
"""(the event's run, has the current run ended, is the event a terminal one) → verdict."""


class RunGate:
    """The rule for one job. Feed it every event in log order."""

    __slots__ = ("ended", "run")

    def __init__(self) -> None:
        # The current run, 1 until another is heard of.
        self.run = 1
        # Whether the current run has had its end.
        self.ended = False

    def admit(self, event: Event, run: int | None = None) -> Verdict:
        """What becomes of `event`. `run` is that of an `.end.<run>` subject; it outranks the payload's."""
        of = run or event.run or self.run
        age = _Age.SAME if of == self.run else _Age.NEWER if of > self.run else _Age.OLDER
        verdict = _RULES[age, self.ended, event.is_terminal]
        if verdict is not Verdict.LATE:
            self.run = of
            self.ended = verdict is Verdict.END
        return verdict
