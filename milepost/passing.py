"""A command's outputs on their way to ours: passed on as they come, to the byte, and read on the way.

An output of ours that is a terminal is one for the command too: a pseudo-terminal with the same settings and size,
which changes nothing of what is written, so that the real one does what it ever did with it. Any other is a pipe.

When both of our outputs are the same terminal, pipe or file, the command gets one for both: two could not be put back
in the order in which they were written, and a bar on one would be torn by the lines on the other.

A thread for each output reads and writes. One that is held up, because the terminal is stopped or nobody reads the
pipe, holds up the command as ever, and nothing else. When nobody takes an output any more, the command is told so as
ever: writing fails, or SIGPIPE ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import struct
import termios
import threading
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

_STDOUT: Final = 1
_STDERR: Final = 2

_CHUNK: Final = 65_536

_STILL: Final = 0.3
"""Seconds without news after which a command that has ended has said all: others may hold its outputs open."""

_STILL_TALKING: Final = 2.0
"""Seconds after which only what is there already is passed on: others may go on writing."""

_AFTER_THE_END: Final = 1024 * 1024
"""Bytes that are passed on after the command's end, whoever writes them."""

Take = Callable[[int, bytes], object]
"""Reads what the output of that number said: 0, and 1 where standard error is an output of its own."""


class Passing:
    """The outputs of one command. `over` is called, on any thread, when one has ended.

    `stdout` and `stderr` are descriptors for the command to write to, ours until `begin()`; `number` is how many there
    are.
    """

    def __init__(self, take: Take, over: Callable[[], object]) -> None:
        ours = [_STDOUT] if _same(_STDOUT, _STDERR) else [_STDOUT, _STDERR]
        self._outputs = [_Output(number, descriptor, take, over) for number, descriptor in enumerate(ours)]
        self.number = len(self._outputs)
        self.stdout = self._outputs[0].theirs
        self.stderr = self._outputs[-1].theirs

    def begin(self) -> None:
        """The command has been started, or has not: nobody but it holds its outputs any more."""
        for output in self._outputs:
            output.begin()

    def resize(self) -> bool:
        """Give the command's terminals the size that ours have; whether that changed any."""
        changed = [output.resize() for output in self._outputs]
        return any(changed)

    def drain(self) -> None:
        """The command has ended: pass on what it has written, and do not wait for anybody else."""
        for output in self._outputs:
            output.drain()

    @property
    def over(self) -> bool:
        """Whether everything has been passed on."""
        return not any(output.thread.is_alive() for output in self._outputs)

    @property
    def failure(self) -> str | None:
        """Why what was said on standard output is not all there, as on a full disk; not that nobody reads it."""
        return self._outputs[0].failure

    def join(self, seconds: float) -> None:
        """Wait for at most about so long until it has."""
        for output in self._outputs:
            output.thread.join(seconds)


class _Output:
    def __init__(self, number: int, ours: int, take: Take, over: Callable[[], object]) -> None:
        self._number, self._ours, self._take, self._over = number, ours, take, over
        self._is_terminal = os.isatty(ours)
        self._from, self.theirs = _terminal_as(ours) if self._is_terminal else os.pipe()
        # Its writing end is closed when the command has ended.
        self._running, self._ended = os.pipe()
        self._left = _AFTER_THE_END
        self._rest_since: float | None = None
        self.failure: str | None = None
        self.thread = threading.Thread(target=self._run, name=f"milepost-output-{number}", daemon=True)

    def begin(self) -> None:
        os.close(self.theirs)
        self.thread.start()

    def drain(self) -> None:
        os.close(self._ended)

    def resize(self) -> bool:
        return self._is_terminal and _same_size(self._ours, self._from)

    def _run(self) -> None:
        try:
            while data := self._read():
                self._write(data)
                self._tell(data)
        except OSError as error:
            # What the command writes has nowhere to go any more.
            logger.debug("output %d is no longer passed on: %s", self._number, error)
            # The pipe had taken it from the command before: who has ended since does not know.
            if not self._is_terminal and not isinstance(error, BrokenPipeError | ConnectionResetError):
                self.failure = error.strerror
        finally:
            # A terminal's size is looked at by another thread.
            self._is_terminal = False
            os.close(self._from)
            self._over()

    def _read(self) -> bytes:
        """What there is, as soon as there is some; nothing at the end."""
        waiting = select.poll()
        waiting.register(self._from, select.POLLIN)
        waiting.register(self._running, select.POLLIN)
        ready = dict(waiting.poll())
        if self._from in ready and self._running not in ready:
            return _read(self._from, _CHUNK)
        return self._read_rest()

    def _read_rest(self) -> bytes:
        now = time.monotonic()
        if self._rest_since is None:
            self._rest_since = now
        wait = min(_STILL, max(self._rest_since + _STILL_TALKING - now, 0.0))
        waiting = select.poll()
        waiting.register(self._from, select.POLLIN)
        if self._left <= 0 or not waiting.poll(wait * 1_000):
            return b""
        data = _read(self._from, _CHUNK)
        self._left -= len(data)
        return data

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._ours, rest) :]
            except BlockingIOError:  # somebody who shares it wants it so
                waiting = select.poll()
                waiting.register(self._ours, select.POLLOUT)
                waiting.poll()

    def _tell(self, data: bytes) -> None:
        try:
            self._take(self._number, data)
        except Exception:
            logger.exception("what the command says is no longer read")
            self._take = _ignore


def _ignore(number: int, data: bytes) -> None:
    """Take no more."""


def _read(descriptor: int, most: int) -> bytes:
    try:
        return os.read(descriptor, most)
    except OSError:  # a terminal that nobody has open any more
        return b""


def _same(one: int, other: int) -> bool:
    """Whether two descriptors are of the same terminal, pipe or file."""
    a, b = os.fstat(one), os.fstat(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _terminal_as(ours: int) -> tuple[int, int]:
    """A pseudo-terminal as `ours` is: the end to read from, and the one to write to."""
    outer, inner = os.openpty()
    settings = termios.tcgetattr(ours)
    # The real one makes of the output what its settings say; here, nothing is to be made of it before.
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(inner, termios.TCSANOW, settings)
    _same_size(ours, outer)
    return outer, inner


def _same_size(ours: int, outer: int) -> bool:
    """Give a pseudo-terminal the size of our terminal; whether it had another."""
    with contextlib.suppress(OSError):  # it is gone
        size, before = _size(ours), _size(outer)
        fcntl.ioctl(outer, termios.TIOCSWINSZ, size)
        return size != before
    return False


def _size(descriptor: int) -> bytes:
    return fcntl.ioctl(descriptor, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
