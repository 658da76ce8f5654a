"""`Bridge`: interest in, deliveries out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

from milepost_hub.errors import HubError, JobSilent, UpstreamDown
from milepost_hub.job_log import JobLog
from milepost_hub.upstream import Interest
from milepost_reporter.jetstream.access import servers
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.connection import Connection
from milepost_reporter.jetstream.errors import JetStreamError, Unavailable
from milepost_reporter.names import check_job, check_tenant, is_name
from milepost_reporter.subject import control

from milepost_bridge.feed import Live, read_live
from milepost_bridge.intake import Intake, Taken
from milepost_bridge.listing import Listed
from milepost_bridge.log import Log
from milepost_bridge.outgoing import outgoing
from milepost_bridge.place import LIVE
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.sink import Sink
from milepost_bridge.summaries import Summaries, Summary

_logger: Final = logging.getLogger("milepost_bridge")

_SWEEPS_IN_MEMORY: Final = 4
"""A sweep this often within the shortest time that it has to notice."""
_LOADED_AT_ONCE: Final = 8
"""Jobs whose state is read at the same time for their summaries."""
_ASK_AGAIN: Final = 0.5
"""Seconds until a job's program is asked again where nobody listened."""
_LOAD_AGAIN: Final = 0.5
"""Seconds until a log that does not answer is asked again."""


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
        self._control_timeout = settings.control_timeout
        self._complaints = Complaints(_logger)
        self._summarised: set[str] = set()
        self._intake = Intake(settings, hub.wants, self._summarised, self._complaints)
        self._summaries = Summaries(settings)
        urls = servers(nats_url)
        self._connection = Connection(
            urls, settings, self._on_message, self._on_link, self._complaints, caught_up=hub.caught_up
        )
        self._log = Log(
            urls,
            settings,
            hub,
            self._intake.admittance,
            on_change=self._on_log,
            on_listed=self._on_listed,
            complaints=self._complaints,
        )
        # Whether the tenants' messages are taken from the log's own passing on; None until it is known if there is one.
        self._stored: bool | None = None
        self._told = (False, True)
        self._switching: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._to_load = asyncio.Event()
        self._watches: dict[str, _Watch] = {}
        self._sweep_every = min(settings.job_memory, settings.stalled_after) / _SWEEPS_IN_MEMORY
        self._sweep_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._open = False

    @property
    def up(self) -> bool:
        """Whether NATS is connected, every wanted subscription in effect, and the log, if there is one, in reach."""
        return self._connection.up and self._stored is not None and self._log.up

    @property
    def log(self) -> JobLog | None:
        """The job log behind the events; None when it is known that there is none."""
        return None if self._stored is False else self._log

    @property
    def trouble(self) -> str | None:
        """Why there is no job log though there should be, in words."""
        return self._log.trouble

    @property
    def log_counts(self) -> dict[str, int]:
        """What became of the messages read from the log, by outcome."""
        return self._log.history.counts

    @property
    def fills(self) -> int:
        """How often a job's log was read because its live path was not enough."""
        return self._log.fills

    @property
    def resets(self) -> int:
        """How often a job could not go on event by event."""
        return self._log.resets

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
        self._log.start()
        self._loading = asyncio.get_running_loop().create_task(self._load_summaries())
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
        tasks = [task for task in (self._switching, self._loading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._log.close()
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
            return None if interest is Interest.NONE else self._want(tenant)
        watch.interest = interest
        if interest is Interest.SUMMARIES:
            self._summarised.add(tenant)
        return self._want(tenant)

    async def ask(self, tenant: str, job: str, request: bytes) -> bytes:
        """Put a request to a job's own program; see `milepost_hub.upstream.Upstream`."""
        if not self._serves(tenant):
            raise JobSilent("this hub does not serve its tenant")
        subject = control(tenant, check_job(job))
        try:
            try:
                return await self._log.api.ask(subject, request, self._control_timeout)
            except Unavailable as error:
                if not error.nobody:
                    raise
            # A program that has just begun, or comes back after an outage, is known to all servers a moment later.
            await asyncio.sleep(_ASK_AGAIN)
            return await self._log.api.ask(subject, request, self._control_timeout)
        except JetStreamError as error:
            raise _not_answered(error, up=self._log.api.up) from error

    def _want(self, tenant: str) -> asyncio.Future[None] | None:
        if self._stored is None:
            # not up, so nobody need wait: it is subscribed to as soon as it is known where
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        return self._connection.want(_everything_of(tenant, stored=self._stored))

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
            self._connection.unwant(_everything_of(tenant, stored=bool(self._stored)))

    def _on_message(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        # A cancellation cannot be the connection's here, for nothing is awaited; it is the hub's own mishap.
        try:
            if not subject.startswith(LIVE):
                if not self._stored:
                    self._take_plain(subject, payload, headers)
            elif self._stored:
                self._take_stored(subject[len(LIVE) :], payload, headers)
        except (Exception, asyncio.CancelledError):
            self.counts["failed"] += 1
            self._complaints.tell("failed", f"{subject!r} could not be delivered", trace=True)

    def _take_plain(self, subject: bytes, payload: bytes, headers: bytes | None) -> None:
        """A message as it was published; there is no log."""
        taken = self._intake.take(subject, payload, headers)
        if taken is None:
            return
        if taken.watched:
            self._hub.deliver(taken.tenant, taken.job, outgoing(taken.admitted, payload, None))
        if taken.tenant in self._summarised:
            self._sum_up(taken)

    def _take_stored(self, subject: bytes, payload: bytes, headers: bytes | None) -> None:
        """A message as the log passes it on."""
        place = self._intake.place(subject)
        if place is None:
            return
        followed, summarised = self._log.follows(place.key), place.tenant in self._summarised
        if not place.carries_events or not (followed or summarised):
            self.counts["passed"] += 1
            return
        live = read_live(place, subject, payload, headers)
        if live is None:
            self._intake.admittance.refuse("unstored", subject, "not from the log, on a subject of the log's")
            return
        if followed:
            self._log.take(live)
        if summarised:
            self._sum_up_stored(live)

    def _sum_up(self, taken: Taken) -> None:
        now = asyncio.get_running_loop().time()
        self._tell_soon(self._summaries.take(taken, datetime.now(UTC), now))

    def _sum_up_stored(self, live: Live) -> None:
        event = self._intake.admittance.event(live.subject, live.place.run, live.payload)
        if event is None:
            return
        self._tell_soon(self._summaries.take_stored(live, event, asyncio.get_running_loop().time()))
        self._load_wanting()

    def _load_wanting(self) -> None:
        if self._summaries.wanting:
            self._to_load.set()

    def _tell_soon(self, summary: Summary | None) -> None:
        if summary is not None:
            self._tell([summary])
        else:
            self._wind()

    async def _load_summaries(self) -> None:
        """Find out what jobs amount to of which only the latest events have been seen."""
        while True:
            await self._to_load.wait()
            self._to_load.clear()
            while wanting := self._summaries.some_wanting(_LOADED_AT_ONCE):
                await asyncio.gather(*(self._load_summary(*key) for key in wanting))

    async def _load_summary(self, tenant: str, job: str) -> None:
        try:
            loaded = await self._log.history.load(tenant, job)
        except JetStreamError as error:
            self._complaints.tell("the log cannot be read", str(error))
            self._summaries.put_off(tenant, job)
            await asyncio.sleep(_LOAD_AGAIN)
        except Exception:
            self.counts["failed"] += 1
            self._complaints.tell("failed", f"job {job!r} of {tenant!r} could not be summed up", trace=True)
            self._summaries.give_up(tenant, job)
        else:
            now = asyncio.get_running_loop().time()
            self._safely(lambda: self._tell_soon(self._summaries.rebase(tenant, job, loaded, now, datetime.now(UTC))))

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
            self._load_wanting()
        self._wind()

    def _on_link(self) -> None:
        """The connection for what is live has come or gone."""
        if not self._connection.up:
            self._log.interrupted()
        else:
            self._log.reconnected()
            if self._stored:
                self._summaries.doubt()
                self._load_wanting()
        self._tell_hub()

    def _on_listed(self, tenant: str, listed: list[Listed]) -> None:
        """Jobs were listed that may fall silent unheard, or of which the list has guessed."""
        if tenant not in self._summarised or not self._stored:
            return
        now, date = asyncio.get_running_loop().time(), datetime.now(UTC)
        for each in listed:
            self._summaries.listed(tenant, each.job, now, silent=date - each.heard, doubtful=each.guessed)
        self._load_wanting()

    def _on_log(self) -> None:
        """Whether there is a log, or whether it can be reached, has changed."""
        if self._log.decided and self._log.durable is not self._stored and self._switching is None:
            self._switching = asyncio.get_running_loop().create_task(self._switch())
        self._tell_hub()

    def _tell_hub(self) -> None:
        """The hub hears of what has changed, and of nothing else."""
        told = (self.up, self.log is not None)
        if told != self._told:
            self._told = told
            self._safely(self._hub.upstream_changed)

    async def _switch(self) -> None:
        """Take messages from the log's passing on from now on, or as they are published."""
        try:
            while self._log.durable is not self._stored:
                before, stored = self._stored, self._log.durable
                tenants = set(self._watches)
                subjects = [_everything_of(tenant, stored=stored) for tenant in tenants]
                for effect in [self._connection.want(subject) for subject in subjects]:
                    if effect is not None:
                        await effect
                self._stored = stored
                for tenant in self._watches:
                    # whoever came meanwhile
                    self._connection.want(_everything_of(tenant, stored=stored))
                    if before is not None:
                        self._connection.unwant(_everything_of(tenant, stored=before))
                for gone in tenants - self._watches.keys():
                    self._connection.unwant(_everything_of(gone, stored=stored))
                self._summaries.forget_all()
                self._tell_hub()
        finally:
            self._switching = None

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


def _not_answered(error: JetStreamError, *, up: bool) -> HubError:
    if not up:
        return UpstreamDown(str(error))
    if isinstance(error, Unavailable):
        return JobSilent("nobody listens there" if error.nobody else "it does not answer")
    return JobSilent("its answer is none")


def _everything_of(tenant: str, *, stored: bool) -> str:
    # one subscription, so that no two of a job's events can overtake each other
    return f"{'live.' if stored else ''}tenant.{tenant}.job.*.>"
