"""Which reporter the code that asks belongs to: for bars, log handlers, and whatever else is not handed one.

That of the innermost `with` block around it; none where that has ended, as for a task that outlives its job; in a
thread of which no block is known, the one reporter that is in use in this process; when several are, none, because a
guess could tell one job's progress as another's. When none is in use it is the process's own, of its environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from milepost_reporter import own

if TYPE_CHECKING:
    from milepost_reporter.reporter import Reporter

_here: Final[ContextVar[tuple[Reporter, ...]]] = ContextVar("milepost_reporters", default=())

_in_use: Final[list[Reporter]] = []
"""Reporters between their blocks' begin and end, in this process."""


def enter(reporter: Reporter) -> None:
    """From now on it is the one of the code in this context."""
    _here.set((*_here.get(), reporter))
    _in_use.append(reporter)
    own.give_way(reporter)


def leave(reporter: Reporter) -> None:
    """No more. Also right in another context than it was entered in, as asynchronous fixtures are."""
    around = _here.get()
    if reporter in around:
        last = len(around) - 1 - around[::-1].index(reporter)
        _here.set(around[:last] + around[last + 1 :])
    if reporter in _in_use:
        _in_use.remove(reporter)


@contextmanager
def using(reporter: Reporter) -> Iterator[None]:
    """The block's code belongs to `reporter`, which does not begin or end by that."""
    enter(reporter)
    try:
        yield
    finally:
        leave(reporter)


def current() -> Reporter:
    """The reporter of the code that calls; a disabled one when that cannot be told. Never raises."""
    around = _here.get()
    for one in reversed(around):
        if not _over(one):
            return one
    known = [one for one in _in_use if not _over(one)]
    if len(known) == 1 and not around:
        return known[0]
    from milepost_reporter.reporter import Reporter

    return Reporter.disabled() if known or around else own.reporter()


def _over(reporter: Reporter) -> bool:
    """Whether it was closed; one that never was open is somebody's wish to report nothing."""
    return reporter.enabled and reporter.closed
