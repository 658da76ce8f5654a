"""What runs in a job's process: its handler, whose reports and outcome go through a pipe to the worker.

The process stands alone: a session of its own, so that no terminal's Ctrl-C reaches it, and on Linux its orphaned
grandchildren stay below it. When the pipe breaks the worker is gone, and a thread ends everything here. That thread
needs the interpreter: a handler inside a C call that holds it is ended by the fork server instead.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple, NoReturn

import psutil
from milepost_reporter import process
from milepost_reporter.cancel import CancelToken
from milepost_reporter.outbox import Outbox
from milepost_reporter.sender import Sender
from milepost_reporter.settings import Settings

from milepost_runner import frames
from milepost_runner.call import Call, failed
from milepost_runner.descendants import adopt_orphans, end_descendants
from milepost_runner.executor import Outcome
from milepost_runner.frames import Frame, FrameReader
from milepost_runner.progress import Progress
from milepost_runner.registry import REGISTRY
from milepost_runner.run_token import RunToken

TIDY: Final = 86
"""Exit code of a process that has told its outcome and has left no child: nobody need look for any."""

_CHUNK: Final = 65_536
_BATCH: Final = 128
_BATCH_BYTES: Final = 256 * 1024

_SAMPLE: Final = 0.02
"""Seconds between looks at running nodes' counters, at least."""


class Order(NamedTuple):
    """What to run: a handler's name, its payload, and whom its progress speaks for."""

    handler: str
    payload: Any
    settings: Settings | None
    max_result: int


def run(pipe: socket.socket) -> NoReturn:
    """Do what the pipe orders, in a process that was just forked, and end it."""
    code = 1
    try:
        code = _run(pipe)
    except BaseException:
        # Not the handler's: those make an outcome.
        traceback.print_exc()
    finally:
        # What is left of the handler's threads and of the parent's memory ends here.
        os._exit(code)


def _run(pipe: socket.socket) -> int:
    _stand_alone()
    told = _received(pipe)
    first = next(told, None)
    if first is None:  # the job was called off meanwhile
        return TIDY
    order = pickle.loads(first.body)  # noqa: S301 - the worker's own words
    cancel = RunToken()
    threading.Thread(target=_listen, args=(told, cancel), name="milepost-worker", daemon=True).start()
    progress = PipeProgress.over(pipe, order.settings)
    outcome = _outcome(order, progress, cancel)
    progress.take_back()
    progress.close()
    pipe.sendall(frames.write(frames.OUTCOME, _written(outcome)))
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return TIDY if _childless() else 0


def _stand_alone() -> None:
    with contextlib.suppress(PermissionError):  # it leads its session already
        os.setsid()
    adopt_orphans()
    # What modules registered when they were loaded is for the end of the process that loaded them.
    atexit._clear()
    atexit.register(process.close_all)
    for stream in (sys.stdout, sys.stderr):
        # A killed process flushes nothing.
        with contextlib.suppress(Exception):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr] # what a module put in its place may not


def _outcome(order: Order, progress: Progress, cancel: CancelToken) -> Outcome:
    handler = REGISTRY.get(order.handler)
    if handler is None:
        return failed(f"the job's process has no handler named {order.handler}: its modules do not register one")
    return Call(handler, order.payload, progress, cancel, order.max_result).here()


def _written(outcome: Outcome) -> bytes:
    return json.dumps({**outcome._asdict(), "result": outcome.result.decode()}).encode()


def read_outcome(body: bytes) -> Outcome:
    """An outcome as a job's process wrote it."""
    told = json.loads(body)
    return Outcome(**{**told, "result": told["result"].encode()})


def _received(pipe: socket.socket) -> Generator[Frame, None, None]:
    """Frames until the pipe breaks."""
    reader = FrameReader()
    with contextlib.suppress(OSError):
        while data := pipe.recv(_CHUNK):
            yield from reader.feed(data)


def _listen(told: Generator[Frame, None, None], cancel: CancelToken) -> None:
    for frame in told:
        if frame.kind == frames.CANCEL:
            cancel.request(json.loads(frame.body))
    end_descendants(psutil.Process())
    os.kill(os.getpid(), signal.SIGKILL)


def _childless() -> bool:
    """Whether no child is left, adopted ones included; those that there are are ended."""
    try:
        ended = 1
        while ended:
            ended, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:  # there are none
        return True
    return end_descendants(psutil.Process())


class PipeProgress(Progress):
    """A `Progress` whose events go into the pipe. In a process that the handler forks, it connects to NATS itself."""

    _pipe: socket.socket
    _pid: int

    @classmethod
    def over(cls, pipe: socket.socket, settings: Settings | None) -> PipeProgress:
        """A progress with the worker's settings; one that does nothing without."""
        progress = cls.from_settings(settings, owner=False)
        progress._pipe = pipe
        progress._pid = os.getpid()
        return progress

    def _new_sender(self) -> Sender:
        if os.getpid() != self._pid:
            return super()._new_sender()
        assert self._settings is not None  # noqa: S101 - nothing is sent when disabled
        return PipeSender(self._pipe, self._outbox, self._sample, self._settings.interval)


class PipeSender:
    """The thread that empties the outbox into the pipe; when the worker is slow, only it waits."""

    def __init__(self, pipe: socket.socket, outbox: Outbox, sample: Callable[[], bool], interval: float) -> None:
        self._pipe = pipe
        self._outbox = outbox
        self._sample = sample
        self._interval = max(interval, _SAMPLE)
        self._sampled_at = 0.0
        self._busy = False
        self._news = threading.Event()
        self._closing = False
        self.connected = True
        self.connections = 1
        self.refused = 0
        self.trouble = "the worker is gone"
        self.sent = 0
        self._thread = threading.Thread(target=self._run, name="milepost-pipe", daemon=True)
        self._thread.start()

    @property
    def confirmed(self) -> int:
        """What is in the pipe arrives, or the worker is gone."""
        return self.sent

    @property
    def idle(self) -> bool:
        """Whether everything is in the pipe."""
        return not len(self._outbox)

    def wake(self) -> None:
        """There is something to take, or a node to look at."""
        self._busy = True
        self._news.set()

    def listen(self, answer: Callable[[bytes], bytes]) -> None:
        """Requests go to the worker, and from there to the handler's token."""

    def close(self, timeout: float | None = None) -> None:
        """Send what is left, however long the worker takes to read it, and end. Does not wait."""
        self._closing = True
        self._news.set()

    def join(self) -> None:
        """Wait for the end after `close()`."""
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the worker is gone: so will be this process
            while not self._closing or len(self._outbox):
                self._news.clear()
                if not self._pump():
                    self._news.wait(self._until_next())
            return
        self.connected = False

    def _pump(self) -> bool:
        """Send what may go now; whether there was anything."""
        moment = time.monotonic()
        if moment >= self._sampled_at + self._interval:
            self._sampled_at = moment
            self._busy = self._sample()
        items = self._outbox.take(moment, _BATCH, _BATCH_BYTES)
        for item in items:
            # The run's end is the worker's to tell.
            if not item.end:
                self._pipe.sendall(frames.write(frames.EVENT, item.kind.encode() + b"\0" + item.payload))
                self.sent += 1
        return bool(items)

    def _until_next(self) -> float | None:
        moment = time.monotonic()
        due = self._outbox.next_due(moment)
        times = [] if due is None else [due]
        if self._busy:
            times.append(self._sampled_at + self._interval)
        # Closing is seen even when its news was cleared in that very moment.
        return 0 if self._closing else max(min(times) - moment, 0) if times else None
