"""What the fan-out and a replay ask of a client, whichever way it is connected."""

from __future__ import annotations

from typing import Protocol

from milepost_hub.action import MessageId
from milepost_hub.channel import Batch, Channel
from milepost_hub.close import CloseCode
from milepost_hub.delivery import Delivery
from milepost_hub.grant import Grant


class Client(Protocol):
    """One WebSocket or one SSE stream."""

    owed: Batch | list[Batch] | None
    """What a flush in progress has for it."""
    channels: dict[str, tuple[Channel, ...]]
    """What it watches, by topic."""

    @property
    def grant(self) -> Grant | None:
        """What it may do; None while nobody knows."""
        ...

    def push(self, batch: Batch, now: float) -> None:
        """Deliver one batch. The hot path."""
        ...

    def push_all(self, batches: list[Batch], now: float, joined: dict[tuple[int, ...], bytes]) -> None:
        """Deliver several; clients with the same ones share the bytes through `joined`."""
        ...

    def give(self, batch: Batch) -> None:
        """Write a piece of a replay, after `drained`. It does not count as pressure."""
        ...

    async def drained(self) -> None:
        """Wait until it has taken all it was given."""
        ...

    def replaying(self, count: int) -> None:
        """So many more of its replays have begun, or ended."""
        ...

    def tell(self, delivery: Delivery) -> None:
        """Send a message of the hub's own, behind everything that waits."""
        ...

    def subscribed(self, topic: str, *, durable: bool, up: bool, id: MessageId) -> None:
        """Its subscription is in effect."""
        ...

    def ended(self, topic: str, cursor: str | None) -> None:
        """What it was given last was a job's final end."""
        ...

    def close(self, code: CloseCode) -> None:
        """End the connection, telling the client why."""
        ...

    def woken(self, slot: int) -> None:
        """A slot of the wheel has come up."""
        ...
