"""What is held for one client that does not read: bounded, and for `latest` subscriptions conflated. Sans-I/O."""

from __future__ import annotations

from collections.abc import Hashable

from milepost_hub.channel import Batch

_WRITE_SIZE = 64 * 1024


class Outbox:
    """An ordered queue of frames, shared bytes wherever nothing is conflated."""

    __slots__ = ("_entries", "_serial", "messages", "size")

    def __init__(self) -> None:
        self._entries: dict[Hashable, tuple[bytes, int]] = {}
        self._serial = 0
        self.messages = 0
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def append(self, data: bytes, messages: int = 1) -> None:
        """Hold frames that must all arrive."""
        self._serial += 1
        self._hold(self._serial, data, messages)

    def conflate(self, batch: Batch) -> None:
        """Hold a batch of which only the newest frame of every key is wanted.

        A newer frame takes its place at the end: it must not overtake what happened before it.
        """
        for delivery in batch.deliveries:
            key, frame = delivery.key, delivery.frame
            if key is None:
                self.append(frame)
                continue
            held = self._entries.pop((batch.channel.topic, key), None)
            if held is not None:
                self._let_go(held)
            self._hold((batch.channel.topic, key), frame, 1)

    def take(self) -> tuple[bytes, int]:
        """Hand over frames from the front, about 64 KiB of them, and how many messages they are.

        No more at once, because joined bytes are no longer shared with other clients.
        """
        taken: list[bytes] = []
        keys: list[Hashable] = []
        size = messages = 0
        for key, (data, count) in self._entries.items():
            if taken and size + len(data) > _WRITE_SIZE:
                break
            keys.append(key)
            taken.append(data)
            size += len(data)
            messages += count
        for key in keys:
            self._let_go(self._entries.pop(key))
        return (taken[0] if len(taken) == 1 else b"".join(taken)), messages

    def clear(self) -> None:
        """Let go of everything."""
        self._entries.clear()
        self.messages = self.size = 0

    def _hold(self, key: Hashable, data: bytes, messages: int) -> None:
        self._entries[key] = (data, messages)
        self.messages += messages
        self.size += len(data)

    def _let_go(self, entry: tuple[bytes, int]) -> None:
        self.size -= len(entry[0])
        self.messages -= entry[1]
