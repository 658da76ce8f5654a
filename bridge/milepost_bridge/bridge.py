"""`Bridge`: interest in, deliveries out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

from milepost_hub.event import Event as Outgoing
from milepost_hub.job_log import JobLog
from milepost_hub.upstream import Interest
from milepost_reporter.event import Event
from milepost_reporter.names import check_tenant, is_name

from milepost_bridge.complaints import Complaints
from milepost_bridge.connection import Connection
from milepost_bridge.intake import Intake, Taken
from milepost_bridge.settings import BridgeSettings, servers
from milepost_bridge.sink import Sink
from milepost_bridge.summaries import Summaries, Summary

_logger: Final = logging.getLogger("milepost_bridge")

_SWEEPS_IN_MEMORY: Final = 4
"""A sweep this often within the shortest time that it has to notice."""


class Bridge:
    """Brings events from NATS to a hub, for the tenants its clients watch. The hub's `Upstream`.

    An async context manager: inside, it keeps itself connected, also when NATS is away at the start; leaving
    it ends the connection. It belongs to one event loop, the hub's.

    Args:
        nats_url: one server or several, separated by commas: `nats://host:4222`. ValueError otherwise.
        hub: who is delivered to; `attach` is called on entering.
        tenant: the only tenant it serves; None means every one there is interest in. ValueError for no name.
        settings: how to reach NATS and what to hold.
    """

    def __init__(
        self, nats_url: str, hub: Sink, tenant: str | None = None, settings: BridgeSettings | None = None
    ) -> None:
        settings = settings or BridgeSettings()
        self._hub = hub
        self._tenant = None if tenant is None else check_tenant(tenant)
        self._linger = settings.linger
        self._complaints = Complaints(_logger)
        self._summarised: set[str] = set()
        self._intake = Intake(settings, hub.wants, self._summarised, self._complaints)
        self._summaries = Summaries(settings)
        self._connection = Connection(
            servers(nats_url), settings, self._on_message, self._on_change, self._complaints, caught_up=hub.caught_up
        )
        self._watches: dict[str, _Watch] = {}
        self._sweep_every = min(settings.job_memory, settings.stalled_after) / _SWEEPS_IN_MEMORY
        self._sweep_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._open = False

    @property
    def up(self) -> bool:
        """Whether NATS is connected and every wanted subscription is in effect."""
        return self._connection.up

    @property
    def log(self) -> JobLog | None:
        """The job log behind the events: there is none."""
        return None

    @property
    def counts(self) -> dict[str, int]:
        """What became of the messages so far, by outcome; `invalid_<reason>` for those that are no events."""
        return self._intake.counts

    @property
    def connections(self) -> int:
        """How many connections to NATS there have been; more than one means it was lost."""
        return self._connection.connections

    async def __aenter__(self) -> Bridge:
        self._open = True
        self._sweep_at = asyncio.get_running_loop().time() + self._sweep_every
        self._wind()
        self._connection.start()
        self._hub.attach(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
        for watch in self._watches.values():
            watch.stay()
        self._watches.clear()
        await self._connection.close()

    def interest(self, tenant: str, interest: Interest) -> asyncio.Future[None] | None:
        """Hear how much of a tenant is watched; see `milepost_hub.upstream.Upstream`."""
        if not self._open or not self._serves(tenant):
            return None
        watch = self._watches.get(tenant)
        if watch is None:
            if interest is Interest.NONE:
                return None
            watch = self._watches[tenant] = _Watch()
        watch.stay()
        if interest < watch.interest:
            loop = asyncio.get_running_loop()
            watch.lowering = loop.call_later(self._linger, self._lower, tenant, watch, interest)
            # the first subscription may still be on its way
            return None if interest is Interest.NONE else self._connection.want(_everything_of(tenant))
        watch.interest = interest
        if interest is Interest.SUMMARIES:
            self._summarised.add(tenant)
        return self._connection.want(_everything_of(tenant))

    def _serves(self, tenant: str) -> bool:
        # a tenant that is no name would be a wildcard, or several tokens of a subject
        if is_name(tenant) and self._tenant in (None, tenant):
            return True
        self._complaints.tell("tenant", f"this bridge does not serve {tenant!r}")
        return False

    def _lower(self, tenant: str, watch: _Watch, interest: Interest) -> None:
        watch.interest = interest
        if interest < Interest.SUMMARIES:
            self._summarised.discard(tenant)
            self._summaries.forget(tenant)
        if interest is Interest.NONE:
            del self._watches[tenant]
            self._connection.unwant(_everything_of(tenant))

    def _on_message(self, subject: bytes, payload: bytes, headers: bytes | None) -> None:
        # A cancellation cannot be the connection's here, for nothing is awaited; it is the hub's own mishap.
        try:
            taken = self._intake.take(subject, payload, headers)
            if taken is None:
                return
            if taken.watched:
                self._hub.deliver(taken.tenant, taken.job, _outgoing(payload, taken.event, taken.key))
            if taken.tenant in self._summarised:
                self._sum_up(taken)
        except (Exception, asyncio.CancelledError):
            self.counts["failed"] += 1
            self._complaints.tell("failed", f"{subject!r} could not be delivered", trace=True)

    def _sum_up(self, taken: Taken) -> None:
        now = asyncio.get_running_loop().time()
        summary = self._summaries.take(taken, datetime.now(UTC), now)
        if summary is not None:
            self._tell([summary])
        else:
            self._wind()

    def _tell(self, summaries: Iterable[Summary]) -> None:
        for summary in summaries:
            self._hub.deliver_summary(summary.tenant, summary.job, summary.json)

    def _wind(self) -> None:
        """Set the one timer to what comes first: a summary held back, or the next sweep."""
        due = self._summaries.next_due
        when = self._sweep_at if due is None else min(due, self._sweep_at)
        if self._timer is not None:
            if self._timer.when() <= when and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        self._safely(self._tell, self._summaries.due(now))
        if now >= self._sweep_at:
            self._sweep_at = now + self._sweep_every
            self._safely(self._intake.sweep, now)
            self._safely(self._tell, self._summaries.stalled(now))
        self._wind()

    def _on_change(self) -> None:
        self._safely(self._hub.upstream_changed)

    def _safely(self, call: Callable[..., None], *values: object) -> None:
        """Call what leads into the hub: its mishap must not stop the clock, nor end the connection."""
        try:
            call(*values)
        except (Exception, asyncio.CancelledError):
            self.counts["failed"] += 1
            self._complaints.tell("failed", "the hub could not be told something", trace=True)


class _Watch:
    """How much of one tenant is subscribed, which lags behind when the interest falls."""

    __slots__ = ("interest", "lowering")

    def __init__(self) -> None:
        self.interest = Interest.NONE
        self.lowering: asyncio.TimerHandle | None = None

    def stay(self) -> None:
        """Call off what was to be lowered."""
        if self.lowering is not None:
            self.lowering.cancel()
            self.lowering = None


def _outgoing(payload: bytes, event: Event, key: str | None) -> Outgoing:
    # What is late was sorted out before: a terminal event that is taken is its run's end.
    end = event.status if event.is_terminal else None
    final = end is not None and not event.willRetry
    return Outgoing(payload, event.kind or "", key, end, final, position=None, cursor=None, at=None)


def _everything_of(tenant: str) -> str:
    # one subscription, so that no two of a job's events can overtake each other
    return f"tenant.{tenant}.job.*.>"
