"""The subscribers of one job, and the messages they are owed."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from milepost_hub.delivery import Delivery, deliver, server_sent
from milepost_hub.event import Event
from milepost_hub.frame import text_frame
from milepost_hub.ring import Ring

if TYPE_CHECKING:
    from milepost_hub.client import Client
    from milepost_hub.history import History
    from milepost_hub.listing import Listing
    from milepost_hub.replay import Replay


class Batch:
    """Messages that are written together. Every client shares the same bytes, also while they wait."""

    __slots__ = ("_server_sent", "channel", "data", "deliveries", "frames")

    def __init__(self, channel: Channel, deliveries: list[Delivery]) -> None:
        self.channel = channel
        self.deliveries = deliveries
        self.frames = [delivery.frame for delivery in deliveries]
        self.data = self.frames[0] if len(deliveries) == 1 else b"".join(self.frames)
        self._server_sent: tuple[bytes, int, Delivery | None] | None = None

    @property
    def server_sent(self) -> tuple[bytes, int, Delivery | None]:
        """All of it as server-sent events up to a final end, how many they are, and that end if there is one."""
        if self._server_sent is None:
            self._server_sent = self._as_server_sent()
        return self._server_sent

    def _as_server_sent(self) -> tuple[bytes, int, Delivery | None]:
        events = []
        for delivery in self.deliveries:
            events.append(server_sent(delivery))
            if delivery.end is not None and delivery.final:
                return b"".join(events), len(events), delivery
        return b"".join(events), len(events), None


NOBODY = cast("dict[Any, Any]", MappingProxyType({}))
"""For all the jobs that nobody is on the way to: a dict each would be memory, and one that was in use is more."""


class Channel:
    """One stream of messages: a job's events, or the summaries of a tenant's jobs."""

    __slots__ = (
        "_owed",
        "dirty",
        "flushed",
        "head",
        "history",
        "listings",
        "position",
        "replays",
        "ring",
        "size",
        "subscribers",
        "topic",
    )

    def __init__(self, topic: tuple[str, ...], head: bytes, ring: Ring) -> None:
        """Make a channel whose messages are `head`, a payload, and what closes them."""
        self.topic = topic
        self.head = head
        self.ring = ring
        # Each subscriber with whether it wants the latest only; a dict, because a flush goes through it in order.
        self.subscribers: dict[Client, bool] = {}
        self.replays: dict[Client, Replay] = NOBODY
        """Those who are on their way to become subscribers; changed by `joins` and `joined`."""
        self.listings: dict[Client, Listing] = NOBODY
        """Those who are being told all jobs, and subscribers already; changed by `lists` and `listed`."""
        self.history: History | None = None
        # Made when there is something: most jobs are silent most of the time.
        self._owed: list[Delivery] | None = None
        self.size = 0
        self.dirty = False
        self.position = 0
        """Of the last event delivered, or the one behind which the log delivers."""
        self.flushed = 0
        """Subscribers have been given everything up to here."""

    @property
    def watched(self) -> bool:
        """Whether there is anybody it is for."""
        return bool(self.subscribers or self.replays)

    def joins(self, client: Client, replay: Replay) -> None:
        """A client is on its way."""
        self.replays = self.replays or {}
        self.replays[client] = replay

    def joined(self, client: Client, replay: Replay) -> bool:
        """It is no more; whether it was."""
        if self.replays.get(client) is not replay:
            return False
        del self.replays[client]
        self.replays = self.replays or NOBODY
        return True

    def lists(self, client: Client, listing: Listing) -> None:
        """A client is being told all jobs."""
        self.listings = self.listings or {}
        self.listings[client] = listing

    def listed(self, client: Client, listing: Listing) -> bool:
        """It is no more; whether it was."""
        if self.listings.get(client) is not listing:
            return False
        del self.listings[client]
        self.listings = self.listings or NOBODY
        return True

    def append(self, event: Event) -> None:
        """Owe one more event to every subscriber."""
        delivery = deliver(self.head, event)
        if self._owed is None:
            self._owed = [delivery]
        else:
            self._owed.append(delivery)
        self.size += len(delivery.frame)
        if event.position is not None:
            self.position = event.position
            self.ring.append(delivery)

    def append_message(self, message: bytes, kind: str, key: str | None = None, cursor: str | None = None) -> None:
        """Owe a message that is no event, and has no place among them."""
        frame = text_frame(message)
        delivery = Delivery(frame, key, kind, cursor=cursor)
        if self._owed is None:
            self._owed = [delivery]
        else:
            self._owed.append(delivery)
        self.size += len(frame)

    def take(self) -> Batch:
        """Hand over what is owed, and owe nothing."""
        batch = Batch(self, self._owed or [])
        self._owed = None
        self.size = 0
        self.dirty = False
        self.flushed = self.position
        return batch

    def follows(self, position: int) -> None:
        """The log has delivered everything up to here, and will deliver what comes behind."""
        self.position = max(self.position, position)
        if self.ring.base is None:
            self.ring.begin(self.position)
        if not self._owed:
            self.flushed = self.position

    def starts_anew(self, position: int, cursor: str | None) -> None:
        """What comes next follows upon this place, whatever came before. Nothing may be owed."""
        self.position = self.flushed = position
        self.ring.begin(position, cursor)
