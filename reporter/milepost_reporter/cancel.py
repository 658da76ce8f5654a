"""A token that tells a job to stop: asked by its threads, awaited by its coroutines, requested by anybody."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Generator
from typing import Any, Final

_logger: Final = logging.getLogger("milepost_reporter")


class Cancelled(BaseException):
    """The job was told to stop, and does.

    No `Exception`, as asyncio's: an `except Exception` of the job's that carries on must not swallow it.
    """


class CancelToken:
    """Whether a job was told to stop. Safe to use from any thread, and from any event loop.

    It only tells: the job stops when it looks. `await token` returns when stopping is asked for.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        # Reentrant: a callback may add another.
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], object]] = []
        self._reason: str | None = None

    @property
    def requested(self) -> bool:
        """Whether the job is to stop."""
        return self._asked.is_set()

    @property
    def reason(self) -> str | None:
        """Why, in words for people; None when nobody said, or nobody asked."""
        return self._reason

    def request(self, reason: str | None = None) -> bool:
        """Ask the job to stop. False when it was asked before: the first reason stays."""
        with self._lock:
            if self._asked.is_set():
                return False
            self._reason = reason
            self._asked.set()
            callbacks, self._callbacks = self._callbacks, []
        self._call_back(callbacks)
        return True

    def raise_if_requested(self) -> None:
        """Stop here, if the job is to stop. Raises Cancelled."""
        if self._asked.is_set():
            raise Cancelled(self._reason or "cancelled")

    def wait(self, timeout: float | None = None) -> bool:
        """Block this thread until stopping is asked for, or for `timeout` seconds; whether it was."""
        return self._asked.wait(timeout)

    def on_request(self, callback: Callable[[], object]) -> None:
        """Call back once, in the requester's thread, when stopping is asked for; at once when it was.

        The requester waits for `callback`. What it raises is logged, and holds up nobody.
        """
        with self._lock:
            if not self._asked.is_set():
                self._callbacks.append(callback)
                return
        _call(callback)

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    def _call_back(self, callbacks: list[Callable[[], object]]) -> None:
        for callback in callbacks:
            _call(callback)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(asked.set)

        self.on_request(tell)
        try:
            await asked.wait()
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._callbacks.remove(tell)


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except KeyboardInterrupt:
        raise
    except BaseException:  # one that stops or ends its own thread is no reason to stop the requester's
        _logger.exception("a callback on being told to stop has failed")
