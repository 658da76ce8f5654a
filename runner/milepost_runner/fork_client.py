"""The worker's side of the fork server: starts it, asks it for processes, hears how they end."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Final

from milepost_runner.descendants import end_tree
from milepost_runner.fork_server import ANSWER, EXITED, LOADED, REQUEST, STARTED

_START: Final = (
    "import json, sys; told = json.loads(sys.argv[1]); sys.path[:] = told['path']; "
    "from milepost_runner.fork_server import main; main(told)"
)

_FULL: Final = 0.005
"""Seconds until another try when the server has more requests than it reads."""

_GOODBYE: Final = 5.0
"""Seconds for the server to end; it may be held up by a module that it loads."""


class Forked:
    """A process that was asked for."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        # None: it never was, or is gone already.
        self.pid: asyncio.Future[int | None] = loop.create_future()
        # When nothing of it is left: in words, how it ended.
        self.ended: asyncio.Future[str] = loop.create_future()


class ForkClient:
    """One fork server. Belongs to the event loop that it was started in."""

    def __init__(self, modules: list[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs:
            told = {"path": sys.path, "modules": modules, "control": theirs.fileno(), "worker": os.getpid()}
            self._server = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(told)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._numbers = itertools.count(1)
        self._forked: dict[int, Forked] = {}
        self._held = b""
        self._ending: set[asyncio.Task[None]] = set()
        self.alive = True
        # When the modules are there, or never will be.
        self.loaded: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._control, self._read)

    async def fork(self, pipe: socket.socket) -> Forked:
        """Ask for a process that gets this end of a pipe."""
        forked = Forked()
        if not self.alive:
            await self._end(forked)
            return forked
        number = next(self._numbers)
        self._forked[number] = forked
        while self.alive:
            try:
                socket.send_fds(self._control, [REQUEST.pack(number)], [pipe.fileno()])
            except OSError:  # full, or broken: then the reader will see it, behind the last answers
                await asyncio.sleep(_FULL)
            else:
                break
        return forked

    async def close(self) -> None:
        """End the server, and with it every process it has forked."""
        self._lost()
        await asyncio.gather(*self._ending)
        try:
            await asyncio.to_thread(self._server.wait, _GOODBYE)
        except subprocess.TimeoutExpired:
            self._server.kill()
            await asyncio.to_thread(self._server.wait)

    def _read(self) -> None:
        try:
            data = self._control.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._held += data
        whole = len(self._held) - len(self._held) % ANSWER.size
        for kind, number, value in ANSWER.iter_unpack(self._held[:whole]):
            self._answered(kind, number, value)
        self._held = self._held[whole:]

    def _answered(self, kind: bytes, number: int, value: int) -> None:
        if kind == LOADED:
            self.loaded.set_result(None)
            return
        if kind == STARTED:
            self._forked[number].pid.set_result(value)
            return
        forked = self._forked.pop(number)
        if kind == EXITED:
            forked.ended.set_result(_words(value))
        else:
            forked.pid.set_result(None)
            forked.ended.set_result(f"no process could be started for it: {os.strerror(value)}")

    def _lost(self) -> None:
        """The server is gone, or is to go: its processes are ended from here."""
        if not self.alive:
            return
        self.alive = False
        if not self.loaded.done():
            self.loaded.set_result(None)
        self._loop.remove_reader(self._control)
        self._control.close()
        for forked in self._forked.values():
            task = self._loop.create_task(self._end(forked))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        self._forked.clear()

    async def _end(self, forked: Forked) -> None:
        if forked.pid.done():
            pid = forked.pid.result()
            assert pid is not None  # noqa: S101 - one that never was is not waited for
            await asyncio.to_thread(end_tree, pid)
        else:
            forked.pid.set_result(None)
        forked.ended.set_result("the process that starts its processes has ended")


def _words(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code} before its handler returned"
    return f"its process was killed by {_signal(-code)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
