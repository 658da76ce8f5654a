"""`BareHub`: who watches what, and what they are owed; who carries it to them is somebody else's affair."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from milepost_hub import message
from milepost_hub.action import ALL_JOBS
from milepost_hub.channel import Channel
from milepost_hub.client import Client
from milepost_hub.close import CloseCode
from milepost_hub.delivery import Delivery
from milepost_hub.desk import Desk
from milepost_hub.errors import UpstreamDown
from milepost_hub.event import Event
from milepost_hub.fanout import Fanout
from milepost_hub.frame import text_frame
from milepost_hub.history import History
from milepost_hub.job_log import Gap, JobLog, Snapshot
from milepost_hub.listing import Jobs, Listing, list_jobs
from milepost_hub.metrics import Metrics
from milepost_hub.pace import Pace
from milepost_hub.replay import START, Replay, Wish
from milepost_hub.ring import Ring, Rings
from milepost_hub.settings import HubSettings
from milepost_hub.shared import Shared
from milepost_hub.sse import Stream
from milepost_hub.upstream import Interest, Upstream
from milepost_hub.wheel import Wheel

T = TypeVar("T")

_CLOSE_SPACING = 0.01
_TICKS_PER_INTERVAL = 8


class _Tenant:
    """What the hub knows of a tenant while it has clients here."""

    __slots__ = ("clients", "in_effect", "interest", "watching_all")

    def __init__(self) -> None:
        self.clients = 0
        self.watching_all = 0
        self.interest = Interest.NONE
        # Done once the upstream has everything that was asked of it; None when it has already.
        self.in_effect: asyncio.Future[None] | None = None


class BareHub:
    """Fans events out to the clients of somebody else's server: an app of one's own that has the hub's routes.

    Usable as an async context manager, one time after the other. Give it events by `attach`ing an `Upstream`. Before
    the server stops, `leave()`: clients' streams have no end of their own, and servers wait for them.
    """

    def __init__(self, settings: HubSettings) -> None:
        """Make a hub; of the settings those count that are not a listener's."""
        self.settings = settings
        self.desk: Desk | None = None
        self.metrics = Metrics()
        self.errors: dict[str, int] = {}
        """Errors told to clients, by code."""
        self.closes: dict[int | str, int] = {}
        """Connections the hub ended, by close code; `dead` for those it found gone."""
        self.received = 0
        """Messages of clients."""
        self.counts: dict[str, int] = Counter()
        """Where what joining clients were given came from: see `_export`."""
        self.cancels: dict[str, int] = Counter()
        """What became of requests to cancel a job, by outcome."""
        self.submits: dict[str, int] = Counter()
        """What became of submitted jobs, by outcome."""
        self.gaps: dict[str, int] = {}
        """Gaps told to clients, by reason."""
        # Looked up once: a bound method is an object, and each watched job would keep one.
        self._spawn = self.spawn
        self.shared = Shared(self._spawn, self.counts)
        """What HTTP asks of the log."""
        self._upstream: Upstream | None = None
        self._told_up = False
        self._log: JobLog | None = None
        self._news = asyncio.Event()
        self._rings = Rings(settings.ring_events, settings.ring_bytes, settings.rings_bytes)
        self._clients: set[Client] = set()
        self._tenants: dict[str, _Tenant] = {}
        self._channels: dict[tuple[str, ...], Channel] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = 0
        self.leaving = False
        """Whether clients are being sent away, and none let in."""
        self._export()

    # -- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Begin to keep time, and to let clients in."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        self.leaving, self._draining = False, 0
        pace = Pace(settings.flush_factor, settings.flush_rest, settings.flush_pause)
        self._fanout = Fanout(loop, pace, settings.queue_bytes // 4)
        self._wheel: Wheel[Client] = Wheel(self._tick(), time.monotonic())
        self._ticking = loop.create_task(self._turn_wheel())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of whoever is still there, and end what runs for them."""
        self.leaving = True
        for client in list(self._clients):
            client.close(CloseCode.GOING_AWAY)
        self._ticking.cancel()
        while self._tasks:  # whoever is cancelled may have begun something on its way out
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(self._ticking, return_exceptions=True)
        self.metrics.sync()

    def leave(self) -> None:
        """Tell every client to come back, over `settings.drain_seconds`, and let in nobody more."""
        if self.leaving:
            return
        self.leaving = True
        self._fanout.flush()
        for client in list(self._clients):
            self.drain(client)

    def _tick(self) -> float:
        settings = self.settings
        patience = (
            settings.ping_interval,
            settings.pong_timeout - settings.ping_interval,
            settings.write_wait,
            settings.heartbeat_interval,
            settings.auth_wait,
        )
        return min(1.0, min(patience) / _TICKS_PER_INTERVAL)

    async def _turn_wheel(self) -> None:
        synced = time.monotonic()
        while True:
            await asyncio.sleep(self._wheel.tick)
            now = time.monotonic()
            for slot, client in self._wheel.turn(now):
                client.woken(slot)
            if now - synced >= 1:
                synced = now
                self.metrics.sync()

    # -- what the upstream calls ------------------------------------------------------------------------------------

    def attach(self, upstream: Upstream) -> None:
        """Take events from this source, and tell it whatever is of interest already."""
        self._upstream = upstream
        for name, tenant in self._tenants.items():
            tenant.in_effect = upstream.interest(name, tenant.interest)
        self.upstream_changed()

    def employ(self, desk: Desk | None) -> None:
        """Have submitted jobs taken here from now on; with None nobody takes any."""
        self.desk = desk

    def upstream_changed(self) -> None:
        """Hear that the source is up or down, or that its log has come or gone: clients are told, if that is news."""
        news, self._news = self._news, asyncio.Event()
        news.set()
        came_up = self.up and not self._told_up
        if self.up != self._told_up:
            self._told_up = self.up
            told = Delivery(text_frame(message.upstream(self.up)), kind="upstream")
            for client in [client for client in self._clients if client.grant is not None]:
                client.tell(told)
        log = None if self._upstream is None else self._upstream.log
        if log is not self._log:
            self._log = log
            self._change_log()
            self._list_again()
        elif came_up and log is not None:
            self._list_again()

    def _change_log(self) -> None:
        """What clients know belongs to the log that was there before: they begin anew."""
        if not self._channels:
            return
        self._fanout.flush()
        gap = Gap("unavailable", None, None)
        for channel in [channel for channel in self._channels.values() if ALL_JOBS not in channel.topic]:
            if channel.history is not None:
                channel.history.close()
            channel.history = self._history(channel)
            channel.starts_anew(0, None)
            channel.ring.close()
            joining = [(client, replay.wish, replay.answered) for client, replay in channel.replays.items()]
            watching = [
                (client, Wish(channel.topic[1], None, latest, None), True)
                for client, latest in channel.subscribers.items()
            ]
            for client, wish, answered in watching + joining:
                self._leave(client, channel)
                self._join(client, channel, wish, answered=answered, gap=gap if answered else None)

    def _list_again(self) -> None:
        """Clients that watch all jobs may have missed changes, or have had no list yet."""
        for client in list(self._clients):
            if ALL_JOBS in client.channels and client.grant is not None:
                self._list(client, Wish(ALL_JOBS, None, True, None), answered=True)

    def wants(self, tenant: str, job: str) -> bool:
        """Whether somebody watches this job."""
        return (tenant, job) in self._channels

    def deliver(self, tenant: str, job: str, event: Event) -> None:
        """Send one event to everybody who watches its job."""
        channel = self._channels.get((tenant, job))
        if channel is not None:
            self._fanout.append(channel, event)

    def reset(self, tenant: str, job: str, gap: Gap | None, snapshot: Snapshot) -> None:
        """Hear that a followed job could not go on event by event.

        Everybody who watches it gets the gap, if there is one to tell, and the snapshot; the events behind that follow.
        """
        channel = self._channels.get((tenant, job))
        if channel is None or channel.history is None:
            return
        self._fanout.flush()
        channel.history.starts_anew(snapshot)
        if channel.subscribers:
            if gap is not None:
                self.gaps[gap.reason] = self.gaps.get(gap.reason, 0) + len(channel.subscribers)
                channel.append_message(message.gap(job, gap), "gap")
            channel.append_message(message.snapshot(job, snapshot), "snapshot", cursor=snapshot.cursor)
            self._fanout.owes(channel)
            self._fanout.flush()
            if snapshot.final:
                for client in list(channel.subscribers):
                    client.ended(job, snapshot.cursor)
        for client, replay in list(channel.replays.items()):
            self._leave(client, channel)
            self._join(client, channel, replay.wish, answered=replay.answered, gap=gap)

    def caught_up(self) -> float:
        """Hear that everything read so far was delivered: it goes out now, if it is time.

        Returns:
            Seconds during which another event would only wait; 0 when it would go out at once. An upstream may let
            events gather for so long and read them in one go.
        """
        return self._fanout.caught_up()

    def deliver_summary(self, tenant: str, job: str, summary: bytes) -> None:
        """Send a job's summary, a JSON object with PROTOCOL's fields, to those who watch all jobs they may see."""
        for topic in ((tenant, ALL_JOBS), (tenant, ALL_JOBS, job)):
            channel = self._channels.get(topic)
            if channel is not None:
                for listing in channel.listings.values():
                    listing.changed.add(job)
                channel.append_message(message.summary(summary), "summary", job)
                self._fanout.owes(channel)

    @property
    def up(self) -> bool:
        """Whether events arrive just now."""
        return self._upstream is not None and self._upstream.up

    async def ask(self, tenant: str, job: str, request: bytes) -> bytes:
        """Put a request to a job's own program; see `Upstream.ask`, which says what it raises."""
        if self._upstream is None:
            raise UpstreamDown("the hub has no source of events")
        return await self._upstream.ask(tenant, job, request)

    @property
    def trouble(self) -> str | None:
        """Why the source of events cannot do all it should; None when it can."""
        return None if self._upstream is None else self._upstream.trouble

    @property
    def durable(self) -> bool:
        """Whether a job log stands behind them."""
        return self._log is not None

    @property
    def log(self) -> JobLog | None:
        """The log that stands behind the events."""
        return self._log

    # -- what connections call --------------------------------------------------------------------------------------

    def join(self, client: Client) -> str | None:
        """Count a client; answer why not when there are too many."""
        if len(self._clients) >= self.settings.max_connections:
            return f"this hub has its {self.settings.max_connections} connections: try another, or later"
        self._clients.add(client)
        return None

    def enter(self, client: Client, tenant: str) -> str | None:
        """Count a client to its tenant; answer why not when that has too many."""
        known = self._tenants.setdefault(tenant, _Tenant())
        most = self.settings.max_connections_per_tenant
        if known.clients >= most:
            return f"the tenant has its {most} connections on this hub"
        known.clients += 1
        self._tell_interest(tenant, known)
        return None

    def left(self, client: Client) -> None:
        """Forget a client and all it watched."""
        self.leave_channels(client)
        grant = client.grant
        if client in self._clients and grant is not None:
            tenant = self._tenants[grant.tenant]
            tenant.clients -= 1
            self._tell_interest(grant.tenant, tenant)
        self._clients.discard(client)

    def subscribe(self, client: Client, wish: Wish) -> None:
        """Attach a client to a topic, once the upstream has it too and it has what it asks for of the past.

        Raises:
            BadCursor: it asks for what comes behind something that is no cursor; all stays as it was.
        """
        grant = client.grant
        if grant is None or client not in self._clients:
            return
        if self._log is not None and wish.after not in {None, START}:
            self._log.check(str(wish.after))
        if wish.topic == ALL_JOBS:
            if ALL_JOBS not in client.channels:
                client.channels[ALL_JOBS] = self._summaries_of(grant.tenant, grant.jobs)
                tenant = self._tenants[grant.tenant]
                tenant.watching_all += 1
                self._tell_interest(grant.tenant, tenant)
            self._list(client, wish)
            return
        channel = self._channel((grant.tenant, wish.topic), message.progress_head(wish.topic))
        client.channels[wish.topic] = (channel,)
        self._leave(client, channel)
        self._join(client, channel, wish)

    def unsubscribe(self, client: Client, topic: str) -> None:
        """Detach a client from a topic, if it is attached to it."""
        if topic not in client.channels:
            return
        for channel in client.channels.pop(topic):
            self._leave(client, channel)
            if not channel.watched:
                self._channels.pop(channel.topic, None)
                channel.ring.close()
                if channel.history is not None:
                    channel.history.close()
        grant = client.grant
        if topic == ALL_JOBS and grant is not None:
            tenant = self._tenants[grant.tenant]
            tenant.watching_all -= 1
            self._tell_interest(grant.tenant, tenant)

    def leave_channels(self, client: Client) -> None:
        """Detach a client from everything."""
        for topic in list(client.channels):
            self.unsubscribe(client, topic)

    def _join(
        self, client: Client, channel: Channel, wish: Wish, *, answered: bool = False, gap: Gap | None = None
    ) -> None:
        replay = Replay(self, client, channel, wish, answered=answered, gap=gap)
        replay.start(self.spawn, in_effect=self._is_in_effect(channel.topic[0]))

    def _list(self, client: Client, wish: Wish, *, answered: bool = False) -> None:
        channels, grant = client.channels[ALL_JOBS], client.grant
        assert grant is not None  # noqa: S101 - who watches has shown a token
        for channel in channels:
            self._leave(client, channel)
        log, tenant, jobs = self._log, grant.tenant, grant.jobs

        async def read() -> Jobs:
            assert log is not None  # noqa: S101
            return await self.shared.ask_anew((ALL_JOBS, tenant, jobs), lambda: list_jobs(log, tenant, jobs))

        listing = Listing(self, client, channels, wish, None if log is None else read, answered=answered)
        listing.start(self.spawn, tenant, in_effect=self._is_in_effect(tenant))

    @staticmethod
    def _leave(client: Client, channel: Channel) -> None:
        channel.subscribers.pop(client, None)
        if (replay := channel.replays.get(client)) is not None:
            replay.stop()
        if (listing := channel.listings.get(client)) is not None:
            listing.stop()

    # -- what replays ask -------------------------------------------------------------------------------------------

    def _is_in_effect(self, tenant: str) -> bool:
        in_effect = self._tenants[tenant].in_effect
        return in_effect is None or in_effect.done()

    async def in_effect(self, tenant: str) -> None:
        """Wait until the upstream has all that was asked of it for a tenant."""
        while (known := self._tenants.get(tenant)) is not None and known.in_effect is not None:
            if known.in_effect.done():
                return
            await asyncio.wait({known.in_effect})

    async def news(self, wait: float) -> None:
        """Wait until the source of events has changed, so many seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._news.wait()

    def flush(self) -> None:
        """Write what is owed to everybody."""
        self._fanout.flush()

    def wake(self, client: Client, when: float, current: int) -> int:
        """Call `client.woken` soon after `when`; `current` is the slot it waits for already, 0 for none."""
        if current < 0 or (current and current * self._wheel.tick <= when + self._wheel.tick):
            return current
        return self._wheel.add(when, client)

    def drain(self, client: Client) -> None:
        """Close one client when its turn comes, so that not all come back at once."""
        spacing = min(_CLOSE_SPACING, self.settings.drain_seconds / max(1, len(self._clients)))
        loop = asyncio.get_running_loop()
        loop.call_later(self._draining * spacing, client.close, CloseCode.GOING_AWAY)
        self._draining += 1

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in the background until it ends or the hub does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- what an embedding program calls ----------------------------------------------------------------------------

    def revoke(self, tenant: str, subject: str | None = None) -> int:
        """Close a tenant's clients (of one `sub`, if given) with 4004; return how many."""
        revoked = [
            client
            for client in self._clients
            if (grant := client.grant) is not None and grant.tenant == tenant and subject in {None, grant.subject}
        ]
        for client in revoked:
            client.close(CloseCode.REVOKED)
        return len(revoked)

    # -- interest -----------------------------------------------------------------------------------------------------

    def _summaries_of(self, tenant: str, jobs: frozenset[str] | None) -> tuple[Channel, ...]:
        if jobs is None:
            return (self._channel((tenant, ALL_JOBS), message.SUMMARY_HEAD),)
        return tuple(self._channel((tenant, ALL_JOBS, job), message.SUMMARY_HEAD) for job in sorted(jobs))

    def _channel(self, topic: tuple[str, ...], head: bytes) -> Channel:
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = Channel(topic, head, Ring(self._rings))
            if ALL_JOBS not in topic:
                channel.history = self._history(channel)
        return channel

    def _history(self, channel: Channel) -> History | None:
        return None if self._log is None else History(self._log, channel, self._spawn, self.counts)

    def _tell_interest(self, name: str, tenant: _Tenant) -> None:
        if tenant.clients == 0:
            interest = Interest.NONE
            self._tenants.pop(name, None)
        else:
            interest = Interest.SUMMARIES if tenant.watching_all else Interest.EVENTS
        if interest is tenant.interest:
            return
        tenant.interest = interest
        tenant.in_effect = self._upstream.interest(name, interest) if self._upstream is not None else None

    def _export(self) -> None:
        count, gauge = self.metrics.count, self.metrics.gauge
        count("milepost_hub_errors", "Errors told to clients.", "code", lambda: self.errors)
        count(
            "milepost_hub_closes",
            "Connections the hub ended.",
            "code",
            lambda: {
                str(int(code)) if isinstance(code, CloseCode) else str(code): n for code, n in self.closes.items()
            },
        )
        count("milepost_hub_received", "Messages of clients.", None, lambda: self.received)
        count("milepost_hub_deliveries", "Events and summaries owed to clients.", None, lambda: self._fanned_out[0])
        count("milepost_hub_flushes", "Flushes that carried them.", None, lambda: self._fanned_out[1])
        count("milepost_hub_replays", "Clients that have joined a job with a log.", None, lambda: self.counts["replay"])
        count(
            "milepost_hub_history",
            "What joining clients were given, and where it came from.",
            "source",
            lambda: {source: self.counts[source] for source in ("read", "shared", "ring", "cached")},
        )
        count("milepost_hub_gaps", "Gaps told to clients.", "reason", lambda: self.gaps)
        count("milepost_hub_cancels", "Requests to cancel a job.", "outcome", lambda: self.cancels)
        count("milepost_hub_submits", "Requests to run a job.", "outcome", lambda: self.submits)
        gauge("milepost_hub_ring_bytes", "Bytes held of jobs' last events.", lambda: self._rings.size)
        gauge(
            "milepost_hub_sse_streams",
            "Clients connected by SSE.",
            lambda: sum(isinstance(client, Stream) for client in self._clients),
        )
        gauge("milepost_hub_connections", "Clients connected.", lambda: len(self._clients))
        gauge("milepost_hub_channels", "Jobs somebody watches.", lambda: len(self._channels))
        gauge("milepost_hub_upstream_up", "Whether events arrive.", lambda: float(self.up), lowest=True)

    @property
    def _fanned_out(self) -> tuple[int, int]:
        # Metrics may be read before the hub is entered.
        fanout = getattr(self, "_fanout", None)
        return (fanout.deliveries, fanout.flushes) if fanout else (0, 0)
