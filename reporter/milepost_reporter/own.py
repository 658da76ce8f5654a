"""The process's own reporter: begun when it is first asked for, ended as the process ends.

So that a program in which nothing says where its job begins and ends has one all the same: bars and log handlers ask
for it. How the process ends is told by the exception nobody caught, which the interpreter keeps as `sys.last_value`,
and by what the main thread's last `sys.exit` was called with, unless that was caught and more was reported after it. A
program that raises SystemExit itself, past `sys.exit`, is told as completed. One that is killed says nothing: its lease
passes.

A run has one start and one end. A reporter of the same run in a `with` of the program's tells them in its place,
whether that begins later or has ended: something may be logged before and behind it. Processes of multiprocessing
report to their parent's job, and leave its start and end to it; so do programs that the process starts, when they are
given its job.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from milepost_reporter.names import new_job_id

if TYPE_CHECKING:
    from milepost_reporter.reporter import Reporter


_PARENTS_JOB: Final = "MILEPOST_PARENTS_JOB"
"""Where processes started afresh find the job's id, which may be made up."""

_PARENTS_PID: Final = "MILEPOST_PARENTS_PID"
"""Whose job that is: a program that replaces itself by another is nobody's child."""


class _Own:
    """It, and how the process that made it ends."""

    def __init__(self) -> None:
        # Reentrant: what its making logs or warns of may come back here, and a signal handler's bar.
        self._lock = threading.RLock()
        self._reporter: Reporter | None = None
        self._beginning = False
        self._pid = 0
        # What the main thread's last sys.exit has raised, and what nobody had caught before that mattered.
        self._exit: BaseException | None = None
        self._uncaught_before: object = None
        self._gave_way = False
        # What the last block of the program's was about.
        self._blocks_run: tuple[str, str, int] | None = None

    def give_way(self, reporter: Reporter) -> None:
        """`reporter` begins: when that is the same run of the same job, its end is that one's to tell."""
        mine = self._reporter
        self._blocks_run = _run_of(reporter)
        if mine is not None and _run_of(mine) == _run_of(reporter):
            self._gave_way = True

    def reporter(self) -> Reporter:
        with self._lock:
            if self._exit is not None and _is_going_on(self._exit):
                self._exit = None
            if self._reporter is None:
                # What is begun while the process ends would have no end.
                if self._beginning or _is_ending():
                    return _nobody()
                self._beginning = True
                try:
                    self._reporter = self._begun()
                finally:
                    self._beginning = False
            return self._reporter

    def forked(self) -> None:
        """In a child: it goes on as a handle of the same job, whose end is the parent's."""
        self._lock = threading.RLock()
        self._beginning = False

    def _begun(self) -> Reporter:
        from milepost_reporter.reporter import Reporter

        if _is_worker() or _has_the_parents_job(os.environ):
            return Reporter.from_env(_of_the_parent(os.environ))
        reporter = Reporter.from_env(_with_job(os.environ))
        if _run_of(reporter) == self._blocks_run:
            return Reporter.from_env(_told_by_another(os.environ))
        reporter.begin()
        if reporter.enabled and not self._pid:
            self._watch_the_end()
            os.environ |= {_PARENTS_JOB: reporter.job, _PARENTS_PID: str(self._pid)}
        return reporter

    def _watch_the_end(self) -> None:
        self._pid = os.getpid()
        self._uncaught_before = _uncaught() if threading.main_thread().is_alive() else None
        leave = sys.exit

        def exit_(status: Any = None, /) -> NoReturn:  # noqa: ANN401 - as sys.exit
            try:
                leave(status)
            except SystemExit as error:
                if threading.current_thread() is threading.main_thread():
                    self._exit = error
                raise

        sys.exit = exit_
        atexit.register(self._end)

    def _end(self) -> None:
        if self._reporter is not None and self._pid == os.getpid() and not self._gave_way:
            uncaught = _uncaught()
            self._reporter.end(self._exit if uncaught is self._uncaught_before else uncaught)


_own: Final = _Own()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own.forked)


def reporter() -> Reporter:
    """The process's own; disabled when its environment does not say where to report to. Never raises."""
    return _own.reporter()


def give_way(reporter: Reporter) -> None:
    """Tell of one that begins in this process."""
    _own.give_way(reporter)


def _uncaught() -> BaseException | None:
    """What the program was left by, once it was; not what somebody at a prompt has seen and gone on after."""
    return None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)


def _is_ending() -> bool:
    """Whether the process has nothing left to do but to end; threads that are no daemons are waited for before that."""
    here = threading.current_thread()
    return not threading.main_thread().is_alive() and (here is threading.main_thread() or here.daemon)


def _is_going_on(exit_: BaseException) -> bool:
    """Whether the program was not left by that: its main thread does something, and not on the way out."""
    main = threading.main_thread()
    if main is not threading.current_thread() or not main.is_alive():
        return False
    handled = sys.exception()
    while handled is not None and handled is not exit_:
        handled = handled.__context__
    return handled is None


def _run_of(reporter: Reporter) -> tuple[str, str, int]:
    return (reporter.tenant, reporter.job, reporter.run)


def _nobody() -> Reporter:
    from milepost_reporter.reporter import Reporter

    return Reporter.disabled()


def _is_worker() -> bool:
    """Whether this is a process of multiprocessing's, or of a pool: its work is part of its parent's job."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    return multiprocessing is not None and multiprocessing.parent_process() is not None


def _has_the_parents_job(environ: Mapping[str, str]) -> bool:
    """Whether a program with bars of its own has started this one, and named its own job."""
    job = environ.get("MILEPOST_JOB")
    return bool(job) and job == environ.get(_PARENTS_JOB) and environ.get(_PARENTS_PID) != str(os.getpid())


def _told_by_another(environ: Mapping[str, str]) -> dict[str, str]:
    return {**environ, "MILEPOST_OWNER": "no"}


def _of_the_parent(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: the parent's job, whose start and end are the parent's to tell."""
    given = {name: value for name, value in environ.items() if value}
    job = {"MILEPOST_JOB": given[_PARENTS_JOB]} if _PARENTS_JOB in given else {}
    return _told_by_another({**job, **given})


def _with_job(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, with a job of the program's name when it names none."""
    program = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    given = {name: value for name, value in environ.items() if value}
    return {"MILEPOST_JOB": new_job_id(program), "MILEPOST_NAME": program, **given}
