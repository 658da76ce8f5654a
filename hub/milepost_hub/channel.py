"""The subscribers of one job, and the frames they are owed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost_hub.frame import text_frame

if TYPE_CHECKING:
    from milepost_hub.connection import Connection


class Batch:
    """What one flush brings of one channel. Every client shares the same bytes, also while they wait."""

    __slots__ = ("channel", "data", "frames", "keys")

    def __init__(self, channel: Channel, frames: list[bytes], keys: list[str | None]) -> None:
        self.channel = channel
        self.frames = frames
        self.keys = keys
        self.data = frames[0] if len(frames) == 1 else b"".join(frames)


class Channel:
    """One stream of messages: a job's events, or the summaries of a tenant's jobs."""

    __slots__ = ("_frames", "_head", "_keys", "dirty", "size", "subscribers", "topic")

    def __init__(self, topic: tuple[str, ...], head: bytes) -> None:
        """Make a channel whose messages are `head`, a payload, and a closing brace."""
        self.topic = topic
        self._head = head
        # Each subscriber with whether it wants the latest only; a dict, because a flush goes through it in order.
        self.subscribers: dict[Connection, bool] = {}
        self._frames: list[bytes] = []
        self._keys: list[str | None] = []
        self.size = 0
        self.dirty = False

    def append(self, payload: bytes, key: str | None, tail: bytes = b"}") -> None:
        """Owe one more message to every subscriber; of those with the same key a slow client may get the last."""
        frame = text_frame(b"%b%b%b" % (self._head, payload, tail))
        self._frames.append(frame)
        self._keys.append(key)
        self.size += len(frame)

    def take(self) -> Batch:
        """Hand over what is owed, and owe nothing."""
        batch = Batch(self, self._frames, self._keys)
        self._frames = []
        self._keys = []
        self.size = 0
        self.dirty = False
        return batch
