"""The moment at which a server is told to stop, heard before the server waits for what has no end of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def heard(callback: Callable[[], object]) -> Iterator[None]:
    """Have `callback` run on this event loop when SIGINT or SIGTERM comes; whoever has these hears them as before.

    A signal that nobody in this program has is left alone, and so are all outside the main thread: no Python program
    can do more there.
    """
    changed: list[tuple[signal.Signals, Handler, Handler]] = []
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if callable(before):
                ours = _both(lambda: _soon(loop, callback), before)
                signal.signal(number, ours)
                changed.append((number, ours, before))
    try:
        yield
    finally:
        for number, ours, before in changed:
            if signal.getsignal(number) is ours:
                signal.signal(number, before)


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    # Closed: whoever came after us has put us back, after we have gone.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)


def _both(first: Callable[[], object], then: Handler) -> Handler:
    def hear(number: int, frame: FrameType | None) -> object:
        first()
        return then(number, frame)

    return hear
