"""One process that has the handlers loaded, and forks itself for each job: a job starts in milliseconds.

It has one thread, no event loop and no connection but the socket to its worker, so that a fork is safe. On that socket
the worker sends a job's number with the job's end of its pipe; back come the process's id and, when it has ended and
nothing of it is left, how. When the worker is gone the server ends every job, also those that cannot see it themselves.

multiprocessing's own fork server would load the program's `__main__` in every child, and has one list of modules for
the whole program.
"""

from __future__ import annotations

import errno
import gc
import os
import selectors
import signal
import socket
import struct
import sys
from typing import Any, Final

import psutil

from milepost_runner import job_process
from milepost_runner.descendants import adopt_orphans, end_descendants, end_tree
from milepost_runner.registry import load

REQUEST: Final = struct.Struct("!Q")
"""A job's number; one file descriptor comes with it."""

ANSWER: Final = struct.Struct("!cQq")
"""One of the below, the job's number, and a value."""

STARTED: Final = b"s"
"""The value is its process's id."""

EXITED: Final = b"x"
"""It has ended, and all that came of it: the exit code, or -N for signal N."""

LOADED: Final = b"l"
"""The modules are there, and processes can be had."""

REFUSED: Final = b"r"
"""The system would not fork; the value is its errno."""

_LOOK: Final = 1.0
"""Seconds between looks at the parent: a child of the worker's may hold the socket open after its death."""


def main(told: dict[str, Any]) -> None:
    """Load `modules` and serve the worker whose id is `worker` on the socket `control`."""
    control = socket.socket(fileno=told["control"])
    adopt_orphans()
    load(told["modules"])
    # What they have printed must not go out once more from every child.
    sys.stdout.flush()
    # What is here now stays, and a child that leaves it alone shares its memory.
    gc.collect()
    gc.freeze()
    ForkServer(control, told["worker"]).serve()


class ForkServer:
    """Forks and reaps."""

    def __init__(self, control: socket.socket, worker: int) -> None:
        self._control = control
        self._worker = worker
        self._jobs: dict[int, int] = {}
        # Processes that the modules started when they were loaded are no job's.
        self._loaded = [child.pid for child in psutil.Process().children()]
        self._awake, self._alarm = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Until the worker closes the socket or dies; then end everything."""
        self._listen()
        try:
            self._answer(LOADED, 0, 0)
            while os.getppid() == self._worker and self._turn():
                pass
        except OSError:
            """The worker is gone in the middle of an answer."""
        for pid in self._jobs:
            end_tree(pid)
        self._sweep()

    def _listen(self) -> None:
        self._awake.setblocking(False)
        self._alarm.setblocking(False)
        signal.set_wakeup_fd(self._alarm.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Whoever ends the worker and everything around it leaves the jobs to the worker.
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)
        self._selector.register(self._control, selectors.EVENT_READ, self._request)
        self._selector.register(self._awake, selectors.EVENT_READ, self._reap)

    def _turn(self) -> bool:
        """Do what there is to do; False when the worker has no more to ask."""
        goes_on = True
        for key, _ in self._selector.select(_LOOK):
            goes_on = key.data() and goes_on
        return goes_on

    def _request(self) -> bool:
        request, descriptors, _, _ = socket.recv_fds(self._control, REQUEST.size, 1)
        if not request:
            return False
        (number,) = REQUEST.unpack(request)
        if not descriptors:  # there was no room for it in this process
            self._answer(REFUSED, number, errno.EMFILE)
            return True
        os.set_inheritable(descriptors[0], False)
        try:
            pid = self._fork(descriptors[0])
        except OSError as error:
            self._answer(REFUSED, number, error.errno or 0)
        else:
            self._jobs[pid] = number
            self._answer(STARTED, number, pid)
        finally:
            os.close(descriptors[0])
        return True

    def _fork(self, pipe: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            self._leave()
            job_process.run(socket.socket(fileno=pipe))
        finally:
            # Nothing may bring a child back into this loop.
            os._exit(1)

    def _leave(self) -> None:
        """In a child: nothing here is its own."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for held in (self._control, self._awake, self._alarm):
            held.close()

    def _reap(self) -> bool:
        self._awake.recv(4096)
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._ended(*ended)
        except ChildProcessError:
            """There are no children at all."""
        return True

    def _ended(self, pid: int, status: int) -> None:
        number = self._jobs.pop(pid, None)
        if number is None:
            return
        code = os.waitstatus_to_exitcode(status)
        if code != job_process.TIDY:
            self._sweep(pid)
        self._answer(EXITED, number, code)

    def _sweep(self, session: int | None = None) -> None:
        """End what jobs that have ended left behind.

        Every job adopts its own orphans while it lives, so a child of this process that is no job is such a one.
        Where nobody adopts (outside Linux), only its process group can be told.
        """
        if session is not None and sys.platform != "linux":
            _end_group(session)
        end_descendants(psutil.Process(), spare=[*self._jobs, *self._loaded])

    def _answer(self, kind: bytes, number: int, value: int) -> None:
        self._control.sendall(ANSWER.pack(kind, number, value))


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        """Nobody is left in it."""
