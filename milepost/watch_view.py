"""A watched job on a terminal: a bar for each node, and for the job as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from milepost import duration
from milepost.watched_job import Link, Node, WatchedJob, plain

_MARKS: Final = {
    "idle": ("○", "dim"),
    "running": ("●", "cyan"),
    "completed": ("✔", "green"),
    "failed": ("✘", "red"),
    "cancelled": ("■", "yellow"),
}
Clock = Callable[[], float]

_OTHER_ROWS: Final = 6
_WIDE: Final = 100


class WatchView:
    """Rendered anew at every refresh; `clock` is the one `WatchedJob` is given."""

    def __init__(self, job: WatchedJob, clock: Clock, *, result: bool = True) -> None:
        self._job = job
        self._result = result
        self._clock = clock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The header, the nodes, and a last line when something is wrong."""
        now = self._clock()
        height = options.height or console.height
        nodes = self._job.nodes(now)
        shown = _fitting(nodes, max(height - _OTHER_ROWS, 3))
        yield self._header()
        yield self._nodes(shown, now, options.max_width)
        if len(shown) < len(nodes):
            yield Text(f"  … and {len(nodes) - len(shown)} more", style="dim")
        if self._job.error:
            yield Text(self._job.error, style="red")
        if self._result and self._job.state.ended and self._job.result:
            yield Text(f"result: {plain(self._job.result)}", no_wrap=True, overflow="ellipsis")
        trouble = self._trouble()
        if trouble:
            yield Text(trouble, style="yellow")

    def _header(self) -> Text:
        state = self._job.state
        _, colour = _MARKS.get(state.status, ("", "cyan"))
        header = Text(no_wrap=True, overflow="ellipsis")
        header.append(self._job.name, style="bold")
        header.append(f"  {state.status}", style=colour)
        if state.run > 1:
            header.append(f"  run {state.run}", style="dim")
        message = state.summary()["message"]
        if message:
            header.append(f"  {message}", style="dim")
        return header

    def _nodes(self, nodes: list[Node], now: float, width: int) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, width=1)
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=8, max_width=max(width // 4, 12))
        table.add_column(ratio=1)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, justify="right")
        if width >= _WIDE:
            table.add_column(no_wrap=True, overflow="ellipsis", width=width // 4)
        for node in nodes:
            row = self._row(node)
            table.add_row(*(row if width >= _WIDE else row[:-1]))
        fraction, left = self._job.fraction_left(now)
        if fraction is not None:
            whole = Node("", "all", self._job.state.status, fraction=fraction, left=left)
            row = self._row(whole)
            table.add_row(*(row if width >= _WIDE else row[:-1]))
        return table

    def _row(self, node: Node) -> tuple[Text | ProgressBar, ...]:
        mark, colour = _MARKS.get(node.status, ("●", "cyan"))
        idle = node.status == "idle"
        return (
            Text(mark, style=colour),
            Text(node.name, style="dim" if idle else ""),
            _bar(node, colour, self._clock()),
            Text(amount(node), style="dim" if idle else ""),
            Text(speed(node), style="dim"),
            Text(duration.clock(node.left) if node.left is not None else "", style="cyan"),
            Text(node.message, style="dim"),
        )

    def _trouble(self) -> str:
        if self._job.link is Link.CONNECTING:
            return "connecting to the hub …"
        if self._job.link is Link.RECONNECTING:
            return "the hub is away; reconnecting …"
        if self._job.upstream != "up":
            return "the hub has lost NATS: nothing arrives until it is back"
        if self._job.state.status == "unknown":
            return "waiting for the job's first event …"
        return ""


def amount(node: Node) -> str:
    """`312/661 files`, `1,204,551 rows`, `47 %`; nothing when nothing is known."""
    if node.count is None:
        return "" if node.fraction is None else f"{node.fraction:.0%}"
    of = f"/{_number(node.total)}" if node.total is not None else ""
    return f"{_number(node.count)}{of} {node.unit}".rstrip()


def speed(node: Node) -> str:
    """`5,120/s`; nothing when it is not known."""
    if node.rate is None:
        return ""
    return f"{node.rate:,.0f}/s" if node.rate >= 10 else f"{node.rate:.1f}/s"  # noqa: PLR2004


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _bar(node: Node, colour: str, now: float) -> ProgressBar:
    fraction = 1.0 if node.status == "completed" else node.fraction
    running = node.status == "running"
    unknown = fraction is None and running
    return ProgressBar(
        total=None if unknown else 1.0,
        completed=fraction or 0.0,
        pulse=unknown,
        animation_time=now,
        complete_style=colour,
        finished_style=colour,
        pulse_style="cyan",
    )


def _fitting(nodes: list[Node], rows: int) -> list[Node]:
    """At most `rows` of them, in their order: what runs or went wrong before what is done or to come."""
    if len(nodes) <= rows:
        return nodes
    rank = {"running": 0, "failed": 1, "cancelled": 1, "completed": 2, "idle": 3}
    by_rank = sorted(range(len(nodes)), key=lambda place: (rank.get(nodes[place].status, 0), -place))
    return [nodes[place] for place in sorted(by_rank[:rows])]
