"""`track`: an iterable whose items are counted on a node of its own."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from milepost_reporter.node import Node

T = TypeVar("T")


class Track(Generic[T]):
    """The same items, for a `for` or an `async for`; the node lives as long as the loop.

    A loop that is left early, by `break` or by an exception in its body, looks the same from here: its node
    ends as cancelled.
    """

    def __init__(self, iterable: Iterable[T] | AsyncIterable[T], begin: Callable[[], Node]) -> None:
        self._iterable: Any = iterable
        self._begin = begin

    def __iter__(self) -> Iterator[T]:
        with self._begin() as node:
            for item in self._iterable:
                yield item
                node.advance()

    async def __aiter__(self) -> AsyncIterator[T]:
        with self._begin() as node:
            async for item in self._iterable:
                yield item
                node.advance()
