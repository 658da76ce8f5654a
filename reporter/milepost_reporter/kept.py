"""The latest of many things under their keys, bounded in number and in bytes: beyond, the oldest go (sans-I/O)."""

from collections import OrderedDict
from collections.abc import Hashable, ValuesView
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Kept(Generic[K]):
    """Things in the order in which their keys were first put. The same cost for each, however many there are."""

    __slots__ = ("_bytes", "_items", "_most", "_most_bytes", "_sizes")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._items: OrderedDict[K, dict[str, Any]] = OrderedDict()
        self._sizes: dict[K, int] = {}
        self._bytes = 0

    def get(self, key: K) -> dict[str, Any] | None:
        """What was put under this key last, when it is still there."""
        return self._items.get(key)

    def values(self) -> ValuesView[dict[str, Any]]:
        """Everything, oldest key first."""
        return self._items.values()

    def put(self, key: K, item: dict[str, Any], size: int) -> None:
        """Keep an item of so many bytes in place of the one of that key."""
        self._bytes += size - self._sizes.get(key, 0)
        self._items[key] = item
        self._sizes[key] = size
        while len(self._items) > self._most or self._bytes > self._most_bytes:
            oldest, _ = self._items.popitem(last=False)
            self._bytes -= self._sizes.pop(oldest)
