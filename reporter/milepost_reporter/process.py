"""Reporters and processes: what a fork, the process's end and a hand-over to another one mean for them."""

import atexit
import importlib
import os
import sys
import weakref
from typing import Any, Final, Protocol


class Reporting(Protocol):
    """What is to be told of its process's life."""

    def forked(self) -> None:
        """This is a child process now."""
        ...

    def begin_close(self, timeout: float | None = None) -> None:
        """Begin to send what is left. Does not wait."""
        ...

    def close(self) -> bool:
        """Wait until it is sent, or the time for it is up."""
        ...


_reporting: Final[weakref.WeakSet[Any]] = weakref.WeakSet()

_orphans: Final[list[object]] = []
"""Senders of the parent process, kept for ever: their event loops share the parent's epoll, and when
collected here they would take the parent's sockets off it."""

_handles: Final[dict[str, Any]] = {}
"""One handle for each reporter of another process, however often it is sent here."""

_CLIENT: Final = "milepost_reporter.jetstream.client"

_pid_with_finalizer: int | None = None


def register(reporter: Reporting) -> None:
    """Tell `reporter` of forks and of the process's end."""
    _reporting.add(reporter)


def orphan(sender: object) -> None:
    """Keep a sender whose thread has stayed behind in the parent process."""
    _orphans.append(sender)


def handles() -> dict[str, Any]:
    """Handles of other processes' reporters, by those reporters' ids."""
    return _handles


def close_with_process() -> None:
    """Make sure that the process's end waits for what is left, also where `atexit` is not heard.

    Children of multiprocessing end without it, and have a list of their own.
    """
    global _pid_with_finalizer  # noqa: PLW0603 - once a process
    if _pid_with_finalizer != os.getpid() and "multiprocessing" in sys.modules:
        from multiprocessing.util import Finalize

        Finalize(None, close_all, exitpriority=10)
        _pid_with_finalizer = os.getpid()


def close_all() -> None:
    """Send what is left of every reporter, all at the same time."""
    reporting = list(_reporting)
    for one in reporting:
        one.begin_close()
    for one in reporting:
        one.close()


def _let_loading_finish() -> None:
    """Ahead of a fork: a sender's thread may be loading its client, and a child would inherit half of that.

    Pools are often forked right behind the first bar or log line, which is when that thread begins.
    """
    if _CLIENT in sys.modules:
        importlib.import_module(_CLIENT)


def _after_fork() -> None:
    _handles.clear()
    for one in list(_reporting):
        one.forked()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_let_loading_finish, after_in_child=_after_fork)
