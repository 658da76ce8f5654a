"""A node: one step of a job, and what it has done so far."""

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar

from milepost_reporter.ending import Ending
from milepost_reporter.payload import fraction, moment, number, optional_text, text

if TYPE_CHECKING:
    from milepost_reporter.reporter import Reporter

T = TypeVar("T")

_RUNNING: Final = "running"


class Node:
    """One step of a job, running from when it is made until its `with` ends or it is told its end.

    It belongs to the process that made it. Wrong values are refused and counted; nothing raises.
    """

    __slots__ = (
        "_counts",
        "_done",
        "_error",
        "_fraction",
        "_message",
        "_name",
        "_refuse",
        "_reporter",
        "_rows",
        "_sampled",
        "_status",
        "_total",
        "_unit",
        "id",
    )

    def __init__(
        self,
        reporter: "Reporter",
        node_id: int | str,
        name: str | None,
        total: float | None,
        unit: str | None,
    ) -> None:
        self.id = node_id
        self._reporter = reporter
        self._name = name
        self._total = total
        self._unit = unit
        self._status = _RUNNING
        self._message: str | None = None
        self._fraction: float | None = None
        self._error: dict[str, str] | None = None
        self._rows: Any = 0
        # The counter, message and fraction that were last told, to tell only changes.
        self._sampled: tuple[Any, str | None, float | None] = (0, None, None)
        self._done = False
        # Whether somebody said that there is something to count.
        self._counts = total is not None or unit is not None

    def advance(self, n: float = 1) -> None:
        """`n` more are done. The sender looks at the counter every interval: this costs one addition."""
        # No other thread gets between reading and writing here: nothing in this line is a call, and CPython
        # only changes threads at calls and jumps.
        try:
            self._rows += n
        except Exception as error:
            self._reporter.refuse("advance", error)

    def report(
        self,
        rows: float | None = None,
        *,
        fraction: float | None = None,
        message: str | None = None,
        total: float | None = None,
    ) -> None:
        """Set what is known: how many are done, 0..1, a line for people, how many are expected."""
        self._reporter.harmless("report", self._set, rows, fraction, message, total)

    def track(self, iterable: Iterable[T]) -> Iterator[T]:
        """The same items, each counted when the loop comes back for the next."""
        for item in iterable:
            yield item
            self.advance()

    def complete(self, message: str | None = None) -> None:
        """The node has done its work."""
        self._finish(Ending("completed", message))

    def fail(self, error: BaseException | str | None = None) -> None:
        """The node has failed."""
        self._finish(Ending.failed(error))

    def cancel(self, message: str | None = None) -> None:
        """The node was told to stop."""
        self._finish(Ending("cancelled", message))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(Ending.of(error))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish(Ending.of(error))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a node belongs to the process that made it: hand on the Reporter, and make a node there")

    def sample(self) -> dict[str, Any] | None:
        """What is to be told now: a payload's fields when something has changed since the last time."""
        present = (self._counted(), self._message, self._fraction)
        if present == self._sampled:
            return None
        return self.fields()

    def fields(self) -> dict[str, Any]:
        """A payload's fields as they are now."""
        rows = self._counted()
        self._sampled = (rows, self._message, self._fraction)
        self._counts = self._counts or rows != 0
        return {
            "nodeId": self.id,
            "nodeName": self._name,
            "status": self._status,
            # Not of a node that counts nothing: its "0" would look like work that is still to come.
            "rowCount": rows if self._counts else None,
            "total": self._total,
            "unit": self._unit,
            "fraction": self._fraction,
            "message": self._message,
            "error": self._error,
            "run": self._reporter.run,
            "at": moment(time.time()),
        }

    def _counted(self) -> int | float:
        """The counter. One that has become something else than a number goes back to what it was."""
        rows = self._rows
        try:
            return number("n", rows)
        except Exception as error:
            self._reporter.refuse("advance", error)
            self._rows = last = self._sampled[0]
            return last  # type: ignore[no-any-return] # only numbers are remembered

    def _set(self, rows: object, given: object, message: object, total: object) -> None:
        if rows is not None:
            self._rows = number("rows", rows)
            self._counts = True
        if given is not None:
            self._fraction = fraction(given)
        if message is not None:
            self._message = text("message", message)
        if total is not None:
            self._total = number("total", total)
            self._counts = True

    def _finish(self, ending: Ending) -> None:
        self._reporter.harmless("node", self._end, ending)

    def _end(self, ending: Ending) -> None:
        if self._done:
            return
        self.close(ending)
        self._reporter.node_ended(self)

    def close(self, ending: Ending) -> None:
        """Take on how it ended, without telling anybody."""
        self._done = True
        self._status = ending.status
        self._error = ending.error
        said = ending.message if ending.error is None else ending.error["message"]
        if said is not None:
            self._message = optional_text("message", said)
