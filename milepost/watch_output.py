"""Where `milepost watch` shows a job: bars on a terminal, lines off it, or the messages as they are."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from milepost import duration
from milepost.watched_job import News, WatchedJob, plain

if TYPE_CHECKING:
    from rich.console import Console

_PER_SECOND: Final = 8
_LINE_EVERY: Final = 1.0


class Output(Protocol):
    """Is told after each message; shows what it likes."""

    def __enter__(self) -> Output: ...

    def __exit__(self, *_: object) -> None: ...

    def raw(self, text: str) -> None:
        """A message exactly as it came."""

    def told(self, news: News) -> None:
        """The watched job has taken in a message."""

    def say(self, line: str) -> None:
        """A line for the person who watches."""


class BarOutput:
    """Live bars, with log lines above them."""

    def __init__(self, job: WatchedJob, console: Console, *, result: bool) -> None:
        from rich.live import Live

        from milepost.watch_view import WatchView

        self._console = console
        view = WatchView(job, time.monotonic, result=result)
        self._live = Live(view, console=console, refresh_per_second=_PER_SECOND, vertical_overflow="crop")

    def __enter__(self) -> BarOutput:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def raw(self, text: str) -> None:
        """Not shown."""

    def told(self, news: News) -> None:
        """Log lines go above the bars; the bars follow at their own pace."""
        for line in news.lines:
            self.say(line)

    def say(self, line: str) -> None:
        """Above the bars."""
        from rich.text import Text

        self._console.print(Text(f"{datetime.now().astimezone():%H:%M:%S} {plain(line)}", style="dim"))


class LineOutput:
    """Plain lines: each change of a status at once, progress of a node at most once a second."""

    def __init__(self, job: WatchedJob, *, result: bool) -> None:
        self._job = job
        self._result = result
        self._status = ""
        self._said: dict[int | str, tuple[float, float | None]] = {}

    def __enter__(self) -> LineOutput:
        return self

    def __exit__(self, *_: object) -> None: ...

    def raw(self, text: str) -> None:
        """Not shown."""

    def told(self, news: News) -> None:
        """What is new in the job, line by line."""
        from milepost.watch_view import amount, speed

        for line in news.lines:
            self.say(line)
        now = time.monotonic()
        status = self._job.state.status
        if status not in (self._status, "unknown") and not self._job.state.ended:
            self.say(f"{self._job.name}: {status}")
        for node in self._job.nodes(now):
            said_at, said = self._said.get(node.id, (0.0, None))
            moved = node.count != said and now - said_at >= _LINE_EVERY
            if node.id in news.changed or moved:
                self._said[node.id] = (now, node.count)
                left = f"{duration.clock(node.left)} left" if node.left is not None else ""
                words = [f"{node.name}: {node.status}", amount(node), speed(node), left, node.message]
                self.say("  ".join(word for word in words if word))
        if status != self._status and self._job.state.ended:
            self.say(self._job.outcome)
            if self._result and self._job.result:
                self.say(f"result: {self._job.result}")
        self._status = status

    def say(self, line: str) -> None:
        """One line, with the time before it."""
        _write(f"{datetime.now().astimezone():%H:%M:%S} {plain(line)}")


class RawOutput:
    """The hub's messages as they came, one a line."""

    def __enter__(self) -> RawOutput:
        return self

    def __exit__(self, *_: object) -> None: ...

    def raw(self, text: str) -> None:
        """On standard output."""
        _write(text)

    def told(self, news: News) -> None:
        """Not shown: the message itself was."""

    def say(self, line: str) -> None:
        """On standard error, out of the messages' way."""
        sys.stderr.write(f"{plain(line)}\n")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
