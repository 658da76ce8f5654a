"""One run of a claimed job: its handler, what tells it to stop, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import Unavailable
from milepost_reporter.settings import Settings
from pydantic_core import from_json

from milepost_runner.claim import Claim, ClaimLost
from milepost_runner.control import Control
from milepost_runner.events import Events
from milepost_runner.executor import CANCELLED, COMPLETED, FAILED, Execution, Executor, Outcome
from milepost_runner.handler import Handler
from milepost_runner.lifecycle import tell_queued
from milepost_runner.record import (
    CANCELLING,
    JobRecord,
    cancelled,
    completed,
    failed,
    given_back,
    to_be_tried_again,
    told_to_stop,
)
from milepost_runner.reporting import RunProgress
from milepost_runner.run_token import RunToken
from milepost_runner.settings import WorkerSettings
from milepost_runner.subject import Place

_logger: Final = logging.getLogger("milepost_runner")

_LISTEN_AFTER: Final = 0.05
"""Seconds until a run listens for requests: those that are shorter find them in the record, when they end."""

_TOUCH: Final = 1_800.0
"""Seconds until the record of a silent run is written all the same: the store forgets what does not change."""


class Floor(NamedTuple):
    """What all runs of a worker share."""

    api: Api
    settings: WorkerSettings
    reporter: Settings
    executor: Executor
    events: Events
    control: Control
    counts: Counter[str]


class Run:
    """One execution of a job. Belongs to one event loop; `go` runs it to its end, whatever that is."""

    def __init__(self, floor: Floor, claim: Claim, handler: Handler, release: Callable[[], None]) -> None:
        self._floor = floor
        self._claim = claim
        self._handler = handler
        self._release = release
        self._place = claim.work.place
        self._cancel = RunToken()
        self._timed_out = False
        self._leaving = False
        self._began = time.monotonic()
        record = claim.record
        self._called = f"{record.name}: job {self._place.job} of {self._place.tenant}, run {record.run}"
        self._lost = False
        self._execution: Execution | None = None
        self._to_be_killed = False
        self._written_off = False
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()
        tenant, _, job = self._place
        settings = floor.reporter.of_run(tenant, job, claim.record.run, claim.record.name)
        self._progress = RunProgress.of(settings, floor.events)

    async def go(self) -> None:
        """Run the handler, and see to it that its end is told once."""
        _logger.info("%s begins", self._called)
        try:
            outcome = await self._execute()
            self._leave_control()
            # Another job may run while this one's end is told. None comes while NATS does not take that.
            self._release()
            await self._settle(outcome)
        except ClaimLost as lost:
            self._over("lost", str(lost))
            self._progress.abandon()
        except BaseException:
            self._progress.abandon()
            raise
        finally:
            self._leave_control()
            self._release()

    def beat(self) -> None:
        """Keep the claim."""
        self._claim.beat()

    def leave(self) -> None:
        """The worker leaves: end the handler at once, and give the job back."""
        self._leaving = True
        self._cancel.request("its worker is leaving")
        self._spawn(self._kill())

    @property
    def place(self) -> Place:
        """Whose job it is."""
        return self._place

    async def goes_on(self, reply: str) -> bool:
        """The job was delivered once more, here: whether it is still this run's, which answers for it then.

        Also one whose end is being told: nobody is to tell it ahead of what the run has to say before.
        """
        await self._refresh()
        if self._lost:
            return False
        self._claim.delivered_again(reply)
        self._claim.beat()
        return True

    def check(self) -> None:
        """NATS was away: see whether the job is still this worker's."""
        self._spawn(self._refresh())

    async def _execute(self) -> Outcome:
        loop = asyncio.get_running_loop()
        self._progress.begin()
        self._cancel.on_request(lambda: loop.call_soon_threadsafe(self._stop))
        self._timers.append(loop.call_later(_LISTEN_AFTER, lambda: self._spawn(self._attend())))
        if self._handler.timeout is not None:
            self._timers.append(loop.call_later(self._handler.timeout, self._time_out))
        try:
            self._execution = await self._floor.executor.start(
                self._handler, self._claim.record.payload, self._progress, self._cancel
            )
        except Exception as error:  # the system has no more processes, or the executor is closed
            words = {"message": f"it could not be started: {error!r}"}
            return Outcome(CANCELLED) if self._leaving else Outcome(FAILED, error=words)
        finally:
            self._progress.release()
        if self._to_be_killed:
            self._spawn(self._kill())
        return await self._execution.outcome()

    async def _attend(self) -> None:
        """What only longer runs need: listen for requests, and keep the record up to date."""
        await self._floor.control.listen(self._place.tenant, self._place.job, self._asked_to_stop)
        # Whoever asked before may have found nobody listening: it stands in the record.
        await self._refresh()
        written: tuple[float | None, str | None] = (None, None)
        touched = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self._floor.settings.record_interval)
            said, now = self._progress.said, asyncio.get_running_loop().time()
            if said != written or now > touched + _TOUCH:
                fraction, message = said
                await self._change(lambda record: record.changed(fraction=fraction, message=message))  # noqa: B023
                written, touched = said, now

    def _asked_to_stop(self, reason: str | None) -> None:
        self._spawn(self._stop_by_request(reason))

    async def _stop_by_request(self, reason: str | None) -> None:
        await self._change(lambda record: told_to_stop(record, reason, _now()))

    async def _refresh(self) -> None:
        with self._losing():
            self._look_at(await self._claim.refresh())

    async def _change(self, change: Callable[[JobRecord], JobRecord]) -> None:
        with self._losing():
            self._look_at(await self._claim.change(change))

    def _look_at(self, record: JobRecord) -> None:
        if record.status == CANCELLING:
            self._cancel.request(record.cancel_reason or "cancelled")

    @contextlib.contextmanager
    def _losing(self) -> Any:  # noqa: ANN401 - a generator, as contextlib takes it
        try:
            yield
        except ClaimLost as lost:
            self._lost = True
            self._cancel.request(str(lost))

    def _stop(self) -> None:
        """The token was requested: tell it, and end the handler when it does not listen."""
        if not (self._lost or self._leaving or self._timed_out):
            self._progress.tell_cancelling()
        if not self._leaving:
            wait = self._floor.settings.cancel_wait
            self._timers.append(asyncio.get_running_loop().call_later(wait, lambda: self._spawn(self._kill())))

    def _time_out(self) -> None:
        self._timed_out = self._cancel.request(f"it took longer than {self._handler.timeout:g} s")

    async def _kill(self) -> None:
        self._to_be_killed = True
        if self._execution is None or await self._execution.kill() or self._written_off:
            return
        self._written_off = True
        self._count("written_off")

    async def _settle(self, outcome: Outcome) -> None:
        """Write what came of it into the record, tell the log, and let go of the job."""
        outcome = self._judged(outcome)
        retry = False

        def settled(record: JobRecord) -> JobRecord:
            nonlocal retry
            retry = False
            if self._leaving and record.status != CANCELLING and outcome.status == CANCELLED:
                return given_back(record)
            if outcome.status == COMPLETED:
                return completed(record, from_json(outcome.result), _now())
            if outcome.status == CANCELLED:
                return cancelled(record, _now())
            retry = self._may_retry(record, outcome)
            return to_be_tried_again(record) if retry else failed(record, outcome.error, _now())

        record = await self._claim.change(settled)
        if not record.ended and not retry:
            await self._give_back(record, 0.0)
            self._over("given_back")
            return
        reason = record.cancel_reason if outcome.status == CANCELLED else None
        await self._progress.finish(outcome, reason, will_retry=retry)
        if retry:
            await self._give_back(record, self._handler.pause(record.failures))
            self._over("retried", _message(outcome))
        else:
            self._claim.acknowledge()
            self._over(outcome.status, _message(outcome))

    def _judged(self, outcome: Outcome) -> Outcome:
        """The outcome, as it is to be told: what was ended for its time has failed."""
        if self._timed_out and outcome.status == CANCELLED:
            return Outcome(FAILED, error={"message": self._cancel.reason or "timed out"})
        return outcome

    def _may_retry(self, record: JobRecord, outcome: Outcome) -> bool:
        return not outcome.final and record.status != CANCELLING and record.failures < self._handler.retries

    async def _give_back(self, record: JobRecord, pause: float) -> None:
        self._progress.take_back()
        # Whoever was frozen since the record was written may have been taken for dead: its job is not to be put back.
        await self._claim.refresh()
        with contextlib.suppress(Unavailable):  # whoever runs it next tells that it does
            await tell_queued(self._floor.api, self._place.tenant, self._place.job, record)
        self._claim.give_back(pause)

    def _leave_control(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._floor.control.leave(self._place.tenant, self._place.job, self._asked_to_stop)

    def _over(self, what: str, why: str | None = None) -> None:
        """The run has ended, or has left: count it, and say so."""
        self._count(what)
        took = time.monotonic() - self._began
        told = f"{what.replace('_', ' ')} after {took:.1f} s" + (f": {why}" if why else "")
        _logger.info("%s: %s", self._called, told)

    def _count(self, what: str) -> None:
        self._floor.counts[what] += 1

    def _spawn(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _now() -> datetime:
    return datetime.now(UTC)


def _message(outcome: Outcome) -> str | None:
    return outcome.error["message"] if outcome.error is not None else None
