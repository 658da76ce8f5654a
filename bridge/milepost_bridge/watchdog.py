"""Leases: hears beats, and ends the runs of jobs that died.

A job promises to beat within its lease, and whoever ends its run publishes that where only the first end is stored.
So any number of watchdogs may watch the same jobs, and one that is wrong about a job's end is refused.

Its clock does not count what it could not hear: while the process was held up, or NATS did not answer, it stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import secrets
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Final, NamedTuple

from milepost_reporter import subject as subjects
from milepost_reporter.jetstream import header
from milepost_reporter.jetstream.access import servers
from milepost_reporter.jetstream.api import Api, Stored
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.errors import NoJetStream, Refused, ServerTooOld, StreamUnfit, Unavailable

from milepost_bridge.place import place_of
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG, ensure

_logger: Final = logging.getLogger("milepost_bridge")

_BEATS: Final = "tenant.*.job.*.alive"
_ALIVE: Final = b".alive"
_LONGEST_BEAT: Final = 256

_EVENTS: Final = "tenant.*.job.*.>"
_RUN: Final = b"Milepost-Run"
_LEASE: Final = b"Milepost-Lease"
_LAST_RUN: Final = 10**16

_TICKS_IN_LEASE: Final = 4
"""The clock ticks this often in the shortest lease."""
_LONGEST_STEP: Final = 2
"""Ticks that the clock goes on at a time, at most: whatever more has passed, nobody was heard in it."""

_ENDS_AT_ONCE: Final = 64
_FAILED: Final = 1.0
"""Seconds until it is tried again after a mishap of our own."""

_ENDED_ALREADY: Final = 10071
_ASK_AGAIN: Final = 10164

OUTCOMES: Final = ("beats", "invalid", "lost", "refused", "unwatched")
"""What is counted: beats heard, beats that are none, runs ended as lost, runs that had ended already when they were to
be, and beats of jobs beyond `lease_jobs`."""


class Watchdog:
    """Ends the runs of jobs that promised to beat and do not. Belongs to one event loop.

    An async context manager: inside, it watches whenever NATS and a log are there; leaving it ends the connection.
    After a time in which it could not hear, every job gets two leases to be heard again.

    Args:
        nats_url: one server or several, separated by commas. ValueError otherwise.
        settings: how to reach NATS, and the bounds of leases. With `log` off, it does nothing.
    """

    def __init__(self, nats_url: str, settings: BridgeSettings | None = None) -> None:
        self._settings = settings = settings or BridgeSettings()
        self._complaints = Complaints(_logger)
        self._changed = asyncio.Event()
        self._api = Api(
            servers(nats_url),
            settings,
            self._changed.set,
            self._complaints,
            hears=_BEATS,
            on_heard=self._on_beat,
            purpose="the log and beats",
        )
        self._tick = settings.lease_min / _TICKS_IN_LEASE
        self._leases = _Leases(self._tick)
        self._name = secrets.token_hex(8)
        self._task: asyncio.Task[None] | None = None
        self.watching = False
        """Whether ends are published just now: NATS and a log are there, and runs that died before were looked for."""
        self.counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)

    @property
    def watched(self) -> int:
        """How many jobs are waited for."""
        return len(self._leases.by_subject)

    async def __aenter__(self) -> Watchdog:
        if self._settings.log:
            self._api.start()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="milepost-watchdog")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await self._api.close()

    def _on_beat(self, subject: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        if not subject.endswith(_ALIVE):  # an answer that nobody waits for any more
            return
        counts = self.counts
        counts["beats"] += 1
        beat = _parse_beat(payload) if len(payload) <= _LONGEST_BEAT else None
        if beat is None:
            counts["invalid"] += 1
            return
        known = self._leases.by_subject.get(subject)
        if known is not None and beat.run < known.run:
            return
        if beat.ended:
            self._leases.forget(known)
        elif known is not None:
            self._leases.renew(known, beat.run, self._bounded(beat.lease))
        elif place_of(subject) is None:
            counts["invalid"] += 1
        else:
            self._watch(subject, beat.run, self._bounded(beat.lease), 1)

    def _bounded(self, lease: float) -> float:
        return min(max(lease, self._settings.lease_min), self._settings.lease_max)

    def _watch(self, subject: bytes, run: int, lease: float, leases: int) -> None:
        if self.watched >= self._settings.lease_jobs:
            self.counts["unwatched"] += 1
            self._complaints.tell("lease_jobs", f"more than {self._settings.lease_jobs:,} jobs: not all are watched")
            return
        self._leases.add(subject, run, lease, leases)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            if not self._api.up:
                await self._changed.wait()
                continue
            wait = _FAILED
            try:
                await ensure(self._api, self._settings)
                await self._watch_until_lost()
            except Unavailable as error:
                if self._api.up:
                    self._complaints.tell("leases are not watched", str(error))
            except (NoJetStream, ServerTooOld, StreamUnfit) as error:
                self._complaints.tell("leases are not watched", str(error))
                wait = self._settings.log_look
            except Exception:  # the next try is a new one
                self._complaints.tell("failed", "leases could not be watched", trace=True)
            finally:
                self.watching = False
            await asyncio.sleep(wait)

    async def _watch_until_lost(self) -> None:
        """Let the clock go on until nobody can be heard any more, which is an Unavailable."""
        life = self._api.connections
        loop = asyncio.get_running_loop()
        self._leases.renew_all()
        await self._scan()
        self.watching = True
        scan_at = loop.time() + self._settings.lease_scan
        before = loop.time()
        while self._api.connections == life:
            await asyncio.sleep(self._tick)
            await self._api.round_trip()
            now = loop.time()
            self._leases.advance(min(now - before, _LONGEST_STEP * self._tick))
            before = now
            await self._end(self._leases.take_due())
            if now >= scan_at:
                await self._scan()
                scan_at = loop.time() + self._settings.lease_scan

    async def _end(self, due: list[_Lease]) -> None:
        for start in range(0, len(due), _ENDS_AT_ONCE):
            ending = map(self._declare_lost, due[start : start + _ENDS_AT_ONCE])
            for result in await asyncio.gather(*ending, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result

    async def _declare_lost(self, lost: _Lease) -> None:
        place = place_of(lost.subject)
        if place is None:
            return
        run = lost.run
        headers = {
            "Nats-Expected-Last-Subject-Sequence": "0",
            # ids are everybody's: nobody but this watchdog could have written this one
            "Nats-Msg-Id": f"watchdog.{self._name}.{place.tenant}.{place.job}.{run}",
            "Milepost-Run": str(run),
        }
        try:
            end = subjects.end(place.tenant, place.job, run)
            ack = await self._api.publish(end, _lost_event(run, lost.lease), headers)
            # before 2.12 a resend is told before it is refused
            self.counts["refused" if ack.duplicate else "lost"] += 1
            if not ack.duplicate:
                _logger.info("job %s of %s: run %d is lost", place.job, place.tenant, run)
        except Refused as refused:
            if refused.err_code != _ENDED_ALREADY:
                if refused.err_code != _ASK_AGAIN:
                    self._complaints.tell("a lost run could not be ended", str(refused))
                self._leases.again(lost)
                return
            self.counts["refused"] += 1
        if lost.run == run:
            self._leases.forget(lost)
        else:  # the next run has begun meanwhile
            self._leases.again(lost)

    async def _scan(self) -> None:
        """Watch the runs that nobody beats for any more, or not yet. Each gets two leases to be heard."""
        found = _OpenRuns()
        try:
            async with contextlib.aclosing(self._api.scan(LOG, _EVENTS)) as batches:
                async for batch in batches:
                    found.take(batch)
        except Refused as error:
            self._complaints.tell("the log could not be looked through", str(error))
        for key, (run, lease) in found.open():
            subject = subjects.alive(*key).encode()
            known = self._leases.by_subject.get(subject)
            if known is None:
                self._watch(subject, run, self._bounded(lease), 2)
            elif known.run < run:
                self._leases.renew(known, run, self._bounded(lease), 2)


class _Beat(NamedTuple):
    run: int
    lease: float
    ended: bool


# most beats are like those before
@lru_cache(maxsize=1024)
def _parse_beat(payload: bytes) -> _Beat | None:
    try:
        beat = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(beat, dict):
        return None
    run, lease, ended = beat.get("run"), beat.get("lease"), beat.get("ended", False)
    if not isinstance(run, int) or isinstance(run, bool) or not 0 < run < _LAST_RUN:
        return None
    if ended is True:
        return _Beat(run, 0.0, ended)
    if not isinstance(lease, int | float) or isinstance(lease, bool) or not 0 < lease < math.inf:
        return None
    return _Beat(run, lease, False)


def _lost_event(run: int, lease: float) -> bytes:
    event = {
        "kind": "job",
        "status": "failed",
        "run": run,
        "error": {"message": "lost", "details": f"no beat within {lease:g} s"},
        "at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    return json.dumps(event).encode()


_NOWHERE: Final = -1


class _Lease:
    """What one job has promised. `due`: when it is lost, on the watchdog's clock; `slot`: when that is looked at."""

    __slots__ = ("due", "lease", "run", "slot", "subject")

    def __init__(self, subject: bytes, run: int, lease: float) -> None:
        self.subject = subject
        self.run = run
        self.lease = lease
        self.due = 0.0
        self.slot = 0


class _Leases:
    """Who is waited for, and until when, on a clock of their own.

    A beat only moves `due`: where a lease is kept among the slots is mended when its slot's time comes.
    """

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._clock = 0.0
        self._next_slot = 0
        self._slots: defaultdict[int, list[_Lease]] = defaultdict(list)
        self.by_subject: dict[bytes, _Lease] = {}

    def add(self, subject: bytes, run: int, lease: float, leases: int) -> None:
        it = self.by_subject[subject] = _Lease(subject, run, lease)
        it.due = self._clock + leases * lease
        self._put(it)

    def renew(self, it: _Lease, run: int, lease: float, leases: int = 1) -> None:
        it.run = run
        it.due = self._clock + leases * lease
        if lease != it.lease:
            it.lease = lease
            self._put(it)

    def renew_all(self) -> None:
        """Two leases for everybody, from now."""
        for it in self.by_subject.values():
            it.due = self._clock + 2 * it.lease
            self._put(it)

    def again(self, it: _Lease) -> None:
        """Let one that was due be due once more, after the shortest lease."""
        it.due = self._clock + self._tick * _TICKS_IN_LEASE
        self._put(it)

    def forget(self, it: _Lease | None) -> None:
        if it is not None and self.by_subject.get(it.subject) is it:
            del self.by_subject[it.subject]

    def advance(self, seconds: float) -> None:
        self._clock += seconds

    def take_due(self) -> list[_Lease]:
        """Those whose time is over. They come up again after `again` and `renew_all` only."""
        due: list[_Lease] = []
        while self._next_slot * self._tick <= self._clock:
            for it in self._slots.pop(self._next_slot, ()):
                if it.slot != self._next_slot or self.by_subject.get(it.subject) is not it:
                    continue
                it.slot = _NOWHERE
                if it.due <= self._clock:
                    due.append(it)
                else:
                    self._put(it)
            self._next_slot += 1
        return due

    def _put(self, it: _Lease) -> None:
        it.slot = max(math.ceil(it.due / self._tick), self._next_slot + 1)
        self._slots[it.slot].append(it)


class _OpenRuns:
    """The last event of every subject in, the runs without an end that promised a lease out."""

    def __init__(self) -> None:
        self._promised: dict[tuple[str, str], tuple[int, float]] = {}
        self._ended: dict[tuple[str, str], int] = {}

    def take(self, messages: list[Stored]) -> None:
        for message in messages:
            place = place_of(message.subject.encode())
            if place is None:
                continue
            if place.run is not None:
                self._ended[place.key] = max(place.run, self._ended.get(place.key, 0))
            elif (promise := _promise(message.headers)) is not None:
                self._promised[place.key] = promise
            else:
                self._promised.pop(place.key, None)

    def open(self) -> Iterable[tuple[tuple[str, str], tuple[int, float]]]:
        return [(key, promise) for key, promise in self._promised.items() if promise[0] > self._ended.get(key, 0)]


def _promise(headers: bytes | None) -> tuple[int, float] | None:
    run = header.number(headers, _RUN)
    try:
        lease = float(header.field(headers, _LEASE) or b"")
    except ValueError:
        return None
    return (run, lease) if run and run < _LAST_RUN and 0 < lease < math.inf else None
