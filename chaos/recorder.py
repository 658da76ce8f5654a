"""Every event as the stream passed it on, for jobs of whose log retention leaves only the end."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chaos.ledger import Entry, Ledger
from chaos.observer import run_of, source_of

_LIVE: Final = "live."
_DIGITS: Final = 9


class Recorder:
    """Listens on the stream's republished messages. Only while no server is killed: it could miss some, and tells."""

    def __init__(self, client: Client, tenant: str, job: str) -> None:
        self._client = client
        self._subject = f"{_LIVE}tenant.{tenant}.job.{job}.>"
        self._job = job
        self._entries: list[Entry] = []
        self._links: list[tuple[str, int, int]] = []
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Listen, from before the first event."""
        self._subscription = await self._client.subscribe(
            self._subject, cb=self._take, pending_msgs_limit=0, pending_bytes_limit=0
        )
        await self._client.flush()

    async def _take(self, message: Msg) -> None:
        headers = message.headers or {}
        seq, subject = int(headers["Nats-Sequence"]), message.subject.removeprefix(_LIVE)
        time = nanoseconds(headers["Nats-Time-Stamp"])
        self._entries.append(Entry(seq, time, message.data, run_of(subject), source_of(headers)))
        self._links.append((subject, int(headers["Nats-Last-Sequence"]), seq))

    def has_all_of(self, kept: Ledger) -> bool:
        """Whether it has come to the end of the log."""
        return bool(self._entries) and self._entries[-1].seq >= kept.entries[-1].seq

    def ledger(self) -> Ledger:
        """Everything since the first event. LookupError when something was missed."""
        last: dict[str, int] = {}
        for subject, before, seq in self._links:
            if last.get(subject, 0) != before:
                raise LookupError(f"the recorder missed what is between {last.get(subject, 0)} and {seq}")
            last[subject] = seq
        return Ledger(self._job, self._entries)


def nanoseconds(stamp: str) -> int:
    """A server's time stamp, RFC 3339 with up to nine digits behind the second, as unix nanoseconds."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**_DIGITS + int(fraction.ljust(_DIGITS, "0") or 0)
