"""`Log`: the hub's job log on NATS. Follows jobs, fills gaps in the live path, finds other lives of the stream.

A followed job has a feed. Its live messages are delivered as long as each is the next; when one is not, the log is read
from the feed's last message on, that message included: were it gone, or another, the feed could not go on event by
event, and the hub is given a gap and a snapshot instead.

The live path may lose its last message and never show it: a feed that is quiet is compared with the log now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from milepost_hub.errors import CursorGone, LogUnavailable
from milepost_hub.event import Event
from milepost_hub.job_log import Gap, Snapshot
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.errors import JetStreamError, Unavailable

from milepost_bridge.admission import Admittance
from milepost_bridge.cursor import read_cursor
from milepost_bridge.feed import Feed, Live, Step, live_of
from milepost_bridge.history import LAG, LAGS, PAGE_MESSAGES, History, Loaded
from milepost_bridge.listing import Listed, Listing
from milepost_bridge.outgoing import outgoing
from milepost_bridge.place import place_of
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.sink import Sink
from milepost_bridge.streams import ensure

_logger: Final = logging.getLogger("milepost_bridge")

_TRY_AGAIN: Final = 0.5
_LONGEST_TRY_AGAIN: Final = 5.0
"""Seconds until a log that does not answer is asked again: so long at first, at most so long."""
_CHECK_IN_CLUSTER: Final = 2.0
_LONGEST_CHECK: Final = 60.0
"""Seconds until a feed that has gone quiet is compared with the log in a cluster: so long at first, at most so long."""
_SWEEP: Final = 1.0
_CHECKS_IN_SWEEP: Final = 100
"""Quiet feeds that are compared in one go: a hub that watches thousands of idle jobs has better things to do."""
_NOTHING_NEW: Final = 0.02
_PATIENCE: Final = 20.0
"""Seconds that the log may take to show what the live path has shown already."""
_READERS: Final = 32
"""Feeds that read the log at the same time."""

_NAMES_RUN: Final = b'"run"'
_RUN: Final = re.compile(rb'"run"\s*:\s*([0-9]{1,16})')

Key = tuple[str, str]


class Log:
    """What is stored, for a hub. Belongs to one event loop.

    Args:
        servers: URLs of the servers, any of which will do.
        settings: how to reach them, and what the log keeps.
        hub: who is delivered to.
        admittance: decides about the live path's messages, and counts them.
        on_change: called when `durable`, `up` or `trouble` has changed; must not raise.
        on_listed: given a tenant's jobs that were listed and may need a second look; must not raise.
        complaints: where it is told what goes wrong.
    """

    def __init__(
        self,
        servers: list[str],
        settings: BridgeSettings,
        hub: Sink,
        admittance: Admittance,
        *,
        on_change: Callable[[], None],
        on_listed: Callable[[str, list[Listed]], None],
        complaints: Complaints,
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._admittance = admittance
        self._counts = admittance.counts
        self._on_change = on_change
        self._complaints = complaints
        self.api = Api(servers, settings, self._heard, complaints)
        self.history = History(self.api, settings, complaints)
        self.listing = Listing(self.api, self.history, settings, on_listed)
        self.durable = False
        """Whether there is a log."""
        self.decided = False
        """Whether that is known."""
        self.trouble: str | None = None
        """Why there is none, in words."""
        self.fills = 0
        """How often the log was read because the live path was not enough."""
        self.resets = 0
        """How often a feed could not go on event by event."""
        self._feeds: dict[Key, _Following] = {}
        self._readers = asyncio.Semaphore(_READERS)
        self._news = asyncio.Event()
        self._reachable = asyncio.Event()
        self._interrupted = False
        """Whether the live path is away: what comes of it first may stand behind what was lost."""
        self._created: str | None = None
        self._differences: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to connect, in the background."""
        self.api.start()
        self._spawn(self._keep())
        self._spawn(self._check_quiet())

    async def close(self) -> None:
        """End it for good."""
        self._drop_feeds()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.listing.close()
        await self.api.close()

    @property
    def up(self) -> bool:
        """Whether it is known if there is a log, and the log can be reached."""
        return self.decided and (self.api.up or not self.durable)

    # -- what the hub asks --------------------------------------------------------------------------------------------

    def check(self, cursor: str) -> int:
        """The position of a cursor. BadCursor when it is none."""
        return read_cursor(cursor).seq

    async def follow(self, tenant: str, job: str) -> int:
        """Deliver the job's every event from now on; see `milepost_hub.job_log.JobLog`."""
        if not self.durable:
            raise LogUnavailable("there is no job log")
        if not self.api.up:
            raise LogUnavailable("no connection to NATS")
        key = (tenant, job)
        following = self._feeds.get(key)
        if following is None:
            following = self._feeds[key] = _Following()
        caught_up = following.caught_up()
        self._wake(key, following)
        await caught_up
        return following.feed.at.seq

    def unfollow(self, tenant: str, job: str) -> None:
        """Deliver no more of this job."""
        following = self._feeds.pop((tenant, job), None)
        if following is not None:
            following.stop()

    async def snapshot(self, tenant: str, job: str) -> Snapshot:
        """The job's state now. LogUnavailable when the log cannot be read."""
        try:
            loaded = await self.history.load(tenant, job)
        except JetStreamError as error:
            raise LogUnavailable(str(error)) from error
        return self._snapshot_of(loaded)

    async def read(self, tenant: str, job: str, after: str | None, limit: int) -> list[Event]:
        """The next events behind a cursor; see `milepost_hub.job_log.JobLog`."""
        cursor = None if after is None else read_cursor(after)
        try:
            for _ in range(LAGS):
                events = await self.history.read(tenant, job, cursor, limit)
                following = self._feeds.get((tenant, job))
                if events or cursor is None or following is None or following.feed.delivered <= cursor.seq:
                    return events
                # More has been delivered already: the replica that answered lags behind.
                await asyncio.sleep(LAG)
        except JetStreamError as error:
            raise LogUnavailable(str(error)) from error
        raise LogUnavailable("the replica that answers lags behind its leader")

    async def jobs(self, tenant: str, jobs: frozenset[str] | None) -> list[bytes]:
        """Summaries of a tenant's jobs, newest first; of these only, if given."""
        try:
            return await self.listing.summaries(tenant, jobs)
        except JetStreamError as error:
            raise LogUnavailable(str(error)) from error

    # -- the live path ------------------------------------------------------------------------------------------------

    def follows(self, key: Key) -> bool:
        """Whether this job's messages are wanted by `take`."""
        return key in self._feeds

    def take(self, live: Live) -> None:
        """One message of a followed job, as the stream passes it on."""
        following = self._feeds[live.place.key]
        feed = following.feed
        if feed.filling:
            if live.seq > feed.at.seq or live.time > feed.at.time:
                feed.hold(live)
            else:
                self._counts["repeated"] += 1
            return
        step = feed.step(live)
        if step is Step.DROP:
            self._counts["repeated"] += 1
            return
        following.quiet = False
        if step is Step.DELIVER and not self._opens_early(feed, live):
            self._deliver(feed, live)
        else:
            feed.hold(live)
            feed.filling = True
            self._wake(live.place.key, following)

    def interrupted(self) -> None:
        """The live path is away: what it brings next is held until `reconnected`, for it may stand behind a loss."""
        self._interrupted = True
        for following in self._feeds.values():
            following.feed.filling = True

    def reconnected(self) -> None:
        """The live path may have lost something: every feed is compared with the log."""
        self._interrupted = False
        for key, following in self._feeds.items():
            following.feed.filling = True
            self._wake(key, following)

    @staticmethod
    def _opens_early(feed: Feed, live: Live) -> bool:
        """Whether this may open a run while the one before is open: then its end may have been lost on the way."""
        if _NAMES_RUN not in live.payload:
            return False
        gate = feed.admission.gate
        return not gate.ended and any(int(run) > gate.run for run in _RUN.findall(live.payload))

    def _deliver(self, feed: Feed, live: Live) -> None:
        place = live.place
        feed.took(place, live.cursor)
        admitted = self._admittance.admit(feed.admission, live.subject, place.run, live.payload, live.headers)
        if admitted is None:
            return
        self._counts["taken"] += 1
        feed.delivered = live.seq
        event = outgoing(admitted, live.payload, live.cursor)
        feed.final = event.final
        self._hub.deliver(place.tenant, place.job, event)

    # -- the log behind it --------------------------------------------------------------------------------------------

    def _wake(self, key: Key, following: _Following) -> None:
        """Have a feed read the log. It has a task only while it does: most feeds are quiet most of the time."""
        following.wanted = True
        if following.task is None:
            following.task = self._spawn(self._read_feed(key, following))

    async def _read_feed(self, key: Key, following: _Following) -> None:
        pause = _TRY_AGAIN
        try:
            while following.wanted:
                following.begin_round()
                try:
                    await self._read_once(key, following)
                except Exception as error:
                    following.failed(self._unavailable(key, error))
                    following.wanted = True
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_TRY_AGAIN)
                    await self._reachable.wait()
                else:
                    following.end_round()
                    pause = _TRY_AGAIN
        finally:
            following.task = None

    def _unavailable(self, key: Key, error: Exception) -> LogUnavailable:
        if isinstance(error, JetStreamError):
            self._complaints.tell("the log cannot be read", str(error))
            return LogUnavailable(str(error))
        self._counts["failed"] += 1
        self._complaints.tell("failed", f"job {key[1]!r} of {key[0]!r} could not be followed", trace=True)
        return LogUnavailable("the hub has met an error of its own")

    async def _read_once(self, key: Key, following: _Following) -> None:
        feed = following.feed
        if not following.begun:
            # Its messages are heard already, so what is stored after this reading comes live.
            async with self._readers:
                loaded = await self.history.load(*key)
            _begin_behind(feed, loaded)
            following.begun = True
            if self._release(feed):
                return
        await self._fill(key, feed)
        if following.doubts_end:
            await self._look_for_end(key, feed)
            following.doubts_end = False

    async def _look_for_end(self, key: Key, feed: Feed) -> None:
        """Start anew behind an end that the live path has lost: what is late looks as if nothing was missing."""
        gate = feed.admission.gate
        if gate.ended:
            return
        run = gate.run
        async with self._readers:
            end = await self.history.end_of(*key, run)
        if end is not None and end.seq < feed.at.seq and (gate.run, gate.ended) == (run, False):
            # What comes live meanwhile stands behind the state that is read now.
            feed.filling = True
            async with self._readers:
                await self._reset(key, feed, None)
            await self._fill(key, feed)

    async def _fill(self, key: Key, feed: Feed) -> None:
        """Deliver everything that is stored, then what was held; from then on the feed is live."""
        self.fills += 1
        feed.filling = True
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        wait = 0.0
        while True:
            before = feed.at
            async with self._readers:
                try:
                    await self._deliver_stored(key, feed)
                except CursorGone as gone:
                    await self._reset(key, feed, gone.gap)
            if self._release(feed):
                return
            # A replica may show later than the live path what is stored.
            wait = 0.0 if feed.at != before else min(max(2 * wait, _NOTHING_NEW), 1.0)
            if wait and asyncio.get_running_loop().time() > deadline:
                self._let_go(feed)
            await asyncio.sleep(wait)

    async def _deliver_stored(self, key: Key, feed: Feed) -> None:
        more = True
        while more:
            after = feed.at if feed.at.seq else None
            page, _ = await self.history.page(*key, after, PAGE_MESSAGES)
            for stored in page.messages:
                subject = stored.subject.encode()
                place = place_of(subject)
                if place is not None:
                    live = live_of(place, subject, stored.seq, 0, stored.time, stored.payload, stored.headers)
                    self._deliver(feed, live)
            more = page.more

    def _release(self, feed: Feed) -> bool:
        """Deliver what was held meanwhile; False when the log must be read once more for it."""
        held, again = feed.held()
        if again:
            return False
        for index, live in enumerate(held):
            step = feed.step(live)
            if step is Step.FILL:
                for later in held[index:]:
                    feed.hold(later)
                return False
            if step is Step.DELIVER:
                self._deliver(feed, live)
            else:
                self._counts["repeated"] += 1
        feed.filling = self._interrupted
        return True

    def _let_go(self, feed: Feed) -> None:
        """What was held is not stored, so nobody else will ever see it."""
        for live in feed.held()[0]:
            self._admittance.refuse("unstored", live.subject, "the log does not have it")

    async def _reset(self, key: Key, feed: Feed, gap: Gap | None) -> None:
        loaded = await self.history.load(*key)
        self.resets += 1
        _begin_behind(feed, loaded)
        self._hub.reset(*key, gap, self._snapshot_of(loaded))

    def _snapshot_of(self, loaded: Loaded) -> Snapshot:
        state = loaded.state
        stalled = loaded.stalled(datetime.now(UTC), self._settings.stalled_after)
        snapshot = state.snapshot(stalled=stalled, durable=True)
        return Snapshot(
            json=json.dumps(snapshot, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode(),
            position=loaded.at.seq,
            cursor=str(loaded.event) if loaded.event else None,
            known=loaded.known,
            final=state.ended and not state.will_retry,
        )

    # -- is there a log? ----------------------------------------------------------------------------------------------

    def _heard(self) -> None:
        """The connection for what is stored has come or gone."""
        self._news.set()
        if self.api.up:
            self._reachable.set()
        else:
            self._reachable.clear()
        self._on_change()

    async def _keep(self) -> None:
        """Make sure of the streams, again and again."""
        while True:
            self._news.clear()
            wait = self._settings.log_look
            if self.api.up:
                try:
                    await self._ensure()
                except Unavailable as error:
                    wait = _TRY_AGAIN
                    self._complaints.tell("the log does not answer", str(error))
                except JetStreamError as error:
                    self._decide(durable=False, trouble=str(error))
                except Exception:
                    self._counts["failed"] += 1
                    self._complaints.tell("failed", "the streams could not be looked at", trace=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _ensure(self) -> None:
        if not self._settings.log:
            self._decide(durable=False, trouble=None)
            return
        streams = await ensure(self.api, self._settings)
        if streams.differences != self._differences:
            self._differences = streams.differences
            for difference in streams.differences:
                _logger.warning("the log is not as it is set here: %s", difference)
        another = self._created not in (None, streams.log_created)
        self._created = streams.log_created
        self._decide(durable=True, trouble=None)
        if another:
            _logger.warning("the log was made anew at %s: what it had before is gone", streams.log_created)
            self.reconnected()

    def _decide(self, *, durable: bool, trouble: str | None) -> None:
        if (self.decided, self.durable, self.trouble) == (True, durable, trouble):
            return
        self.decided, self.durable, self.trouble = True, durable, trouble
        if trouble is not None:
            _logger.warning("live only, nothing is kept: %s", trouble)
        if not durable:
            self._drop_feeds()
        self._on_change()

    def _drop_feeds(self) -> None:
        for key in list(self._feeds):
            self.unfollow(*key)

    async def _check_quiet(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            await self._reachable.wait()
            now = asyncio.get_running_loop().time()
            # One server tells everything over one connection. In a cluster a leader may die with what it had to tell.
            clustered = "cluster" in self.api.server_info
            first = min(self._settings.log_check, _CHECK_IN_CLUSTER) if clustered else self._settings.log_check
            due = (
                (key, each) for key, each in self._feeds.items() if each.is_due(now, first, self._settings.log_check)
            )
            for key, following in list(itertools.islice(due, _CHECKS_IN_SWEEP)):
                following.doubts_end = True
                self._wake(key, following)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Following:
    """A feed, its task, and who waits for it. Rounds of reading are counted: who asks waits for the next to begin."""

    __slots__ = (
        "_busy_at",
        "_check_at",
        "_check_wait",
        "_round",
        "_waiting",
        "begun",
        "doubts_end",
        "feed",
        "quiet",
        "task",
        "wanted",
    )

    def __init__(self) -> None:
        self.feed = Feed()
        self.task: asyncio.Task[None] | None = None
        """What reads the log just now."""
        self.wanted = False
        """Whether the log is to be read once more."""
        self.begun = False
        """Whether it is known where the feed begins."""
        self.quiet = False
        """Whether no message has come since the last look."""
        self.doubts_end = False
        """Whether an end may stand in the log before what has been delivered."""
        self._round = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._check_at = self._busy_at = 0.0
        self._check_wait = 0.0

    def caught_up(self) -> asyncio.Future[None]:
        """Done when everything stored by now has been delivered; LogUnavailable when that cannot be read."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._round + 1, future))
        return future

    def begin_round(self) -> None:
        """The log is about to be read."""
        self._round += 1
        self.wanted = False

    def end_round(self) -> None:
        """It has been read; whoever asked meanwhile waits for the next round."""
        self._settle(None)
        self.wanted = self.wanted or bool(self._waiting)

    def failed(self, error: LogUnavailable) -> None:
        """It could not be read."""
        self._settle(error)

    def stop(self) -> None:
        """Nobody follows any more."""
        if self.task is not None:
            self.task.cancel()
        self._round += 1
        self._settle(LogUnavailable("the job is no longer followed"))

    def is_due(self, now: float, first: float, busy: float) -> bool:
        """Whether the log should be asked.

        `first`: seconds until it is when nothing comes any more; `busy`: when something comes all the time.
        """
        if self.feed.filling or self.feed.final:
            return False
        if not self.quiet:
            self.quiet = True
            self._check_wait = first
            self._busy_at = self._busy_at or now + busy
            self._check_at = min(now + first, self._busy_at)
        if now < self._check_at:
            return False
        self._busy_at = 0.0
        self._check_wait = min(2 * self._check_wait, max(first, _LONGEST_CHECK))
        self._check_at = now + self._check_wait
        return True

    def _settle(self, error: LogUnavailable | None) -> None:
        waiting, self._waiting = self._waiting, []
        for number, future in waiting:
            if number > self._round:
                self._waiting.append((number, future))
            elif future.done():
                continue
            elif error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def _begin_behind(feed: Feed, loaded: Loaded) -> None:
    delivered = loaded.event.seq if loaded.event else 0
    feed.begin(loaded.at, loaded.last_on_progress, delivered, loaded.admission)
    feed.final = loaded.state.ended and not loaded.state.will_retry
