"""Jobs submitted, submitted again and cancelled: for any tenant, over one connection."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from milepost_reporter import subject as job_subject
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import JetStreamError, Refused, Unavailable

from milepost_runner import subject
from milepost_runner.catalog import Catalog, Entry
from milepost_runner.errors import BadPayload, HasEnded, KeyTaken, NoSuchJob, QueueUnavailable, TooLarge, UnknownHandler
from milepost_runner.handler import check_name
from milepost_runner.lifecycle import tell_end, tell_queued
from milepost_runner.record import CANCELLING, QUEUED, JobRecord, told_to_stop, waiting
from milepost_runner.records import Kept, Records
from milepost_runner.registry import Registry
from milepost_runner.settings import RunnerSettings
from milepost_runner.streams import ensure_consumer
from milepost_runner.subject import Place, QueueName
from milepost_runner.work import BadWork, Work, read_work, write_payload, write_work

P = ParamSpec("P")
T = TypeVar("T")

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: in the order of ASCII, so that ids sort by the time they were made."""
_TIME_DIGITS: Final = 10
_RANDOM_DIGITS: Final = 8
_KEY_BYTES: Final = 20
_WRONG_LAST_SEQUENCE: Final = 10071
_WRONG_LAST_SEQUENCE_NOW: Final = 10164
_FULL: Final = 10077
_FULL_WORDS: Final = "the queue is full, as queue_max_bytes has it: start more workers, or try again later"
_TRIES: Final = 3
_PAUSE: Final = 0.05
_LONGEST_KEY: Final = 256
_CONTROL_PATIENCE: Final = 2.0
_CANCEL: Final = b'{"action":"cancel"}'


class Submitted(NamedTuple):
    """A job that was taken. `fresh`: not when its key had been used for the same before."""

    job: str
    fresh: bool


def _available(act: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """What NATS cannot do now is told as the runner's own error."""

    @wraps(act)
    async def acted(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await act(*args, **kwargs)
        except JetStreamError as error:
            raise QueueUnavailable(str(error)) from error

    return acted


class Submissions:
    """Takes jobs of any tenant. `registry`: handlers of this very program, asked before the catalog."""

    def __init__(self, api: Api, settings: RunnerSettings, registry: Registry | None = None) -> None:
        self._api = api
        self._settings = settings
        self._registry = registry
        self._catalog = Catalog(api)
        self._queues: set[QueueName] = set()
        self._connection = 0
        self.records = Records(api)

    @_available
    async def submit(self, tenant: str, name: str, payload: Any = None, *, key: str | None = None) -> Submitted:  # noqa: ANN401
        """Take a job. It is in the queue, on disk by NATS' rules, when this returns.

        Args:
            tenant: whose it is.
            name: its handler's.
            payload: any JSON that the handler takes.
            key: makes it safe to submit again: the same key, name and payload are the same job.

        Raises:
            UnknownHandler, BadPayload, TooLarge, KeyTaken: it cannot be taken.
            QueueUnavailable: nobody knows whether it was taken.
            ValueError: the key is empty or longer than 256 characters.
        """
        queue = await self._check(tenant, name, payload)
        message = self._message(name, payload)
        work = _read(Place(tenant, queue, _job_id(tenant, key)), message)
        if key is not None and (found := await self._used(work)) is not None:
            return found
        await self._consumer(QueueName(tenant, queue))
        if not await self._put(work, message):
            found = await self._used(work)
            return found or Submitted(work.place.job, fresh=False)
        await self._tell_queued(work.place, waiting(work))
        return Submitted(work.place.job, fresh=True)

    @_available
    async def submit_again(self, tenant: str, job: str) -> Submitted:
        """Take the same job once more, as a new one. NoSuchJob when it was never submitted, else as `submit`."""
        kept = await self._kept(tenant, job)
        return await self.submit(tenant, kept.record.name, kept.record.payload)

    @_available
    async def name_of(self, tenant: str, job: str) -> str | None:
        """Under which name a job was submitted; None when it was not."""
        kept = await self.records.find(tenant, job)
        return None if kept is None else kept.record.name

    @_available
    async def cancel(self, tenant: str, job: str, reason: str | None = None) -> JobRecord:
        """Tell a job to stop. One that waits has ended then; of one that runs its worker is told.

        Returns:
            Its record: cancelling or cancelled.

        Raises:
            NoSuchJob, HasEnded, QueueUnavailable
        """
        while True:
            kept = await self._kept(tenant, job)
            if kept.record.ended:
                raise HasEnded(f"job {job} has ended: {kept.record.status}")
            record = told_to_stop(kept.record, reason, datetime.now(UTC))
            known = kept.record.status == CANCELLING
            if known or await self.records.write(tenant, job, record, kept.revision) is not None:
                break
        if record.ended:
            await tell_end(self._api, tenant, job, record)
        else:
            await self._tell_worker(tenant, job)
        return record

    async def _kept(self, tenant: str, job: str) -> Kept:
        kept = await self.records.find(tenant, job)
        if kept is None:
            raise NoSuchJob(f"no job {job:.100} was submitted, or it is forgotten")
        return kept

    async def _check(self, tenant: str, name: str, payload: Any) -> str:  # noqa: ANN401
        """The queue of the job's handler, which takes this payload."""
        try:
            check_name("a job's name", name)
        except ValueError as error:
            raise UnknownHandler(str(error)) from None
        handler = self._registry.get(name) if self._registry is not None else None
        if handler is not None:
            handler.read(payload)
            return handler.queue
        entry: Entry = await self._catalog.find(tenant, name)
        await entry.check(payload)
        return entry.queue

    def _message(self, name: str, payload: Any) -> bytes:  # noqa: ANN401 - JSON, it is hoped
        try:
            written = write_payload(payload)
        except ValueError as error:
            raise _no_payload(f"it is no JSON: {error}") from None
        size, bound = len(written), self._settings.payload_max_bytes
        if size > bound:
            advice = "store it, and submit where it is"
            raise TooLarge(f"the payload has {size:,} bytes, at most {bound:,} are taken: {advice}")
        return write_work(name, written, datetime.now(UTC))

    async def _used(self, work: Work) -> Submitted | None:
        """The job that this one's key was used for; None when it was not. KeyTaken when that was another."""
        found = await self.records.find(work.place.tenant, work.place.job)
        if found is None:
            return None
        if (found.record.name, _canonical(found.record.payload)) != (work.name, _canonical(work.payload)):
            raise KeyTaken("the key was used before, for another job: a key is for one name and payload")
        if found.record.status == QUEUED and found.record.run == 1:
            # Whoever put it there may not have lived to tell of it.
            await self._tell_queued(work.place, found.record)
        # It is this very one when only the answer to putting it there was lost.
        return Submitted(work.place.job, fresh=found.record.queued_at == work.queued_at)

    async def _put(self, work: Work, message: bytes) -> bool:
        """Put it into the queue. False when it is there already."""
        tenant, queue, job = work.place
        headers = {"Nats-Msg-Id": f"{tenant}-{job}", "Nats-Expected-Last-Subject-Sequence": "0"}
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                return not (await self._api.publish(subject.work(tenant, queue, job), message, headers)).duplicate
            except Refused as refused:
                if refused.err_code == _WRONG_LAST_SEQUENCE:
                    return False
                if last or refused.err_code != _WRONG_LAST_SEQUENCE_NOW:
                    raise
            except Unavailable as error:
                if error.err_code == _FULL:
                    raise QueueUnavailable(_FULL_WORDS) from error
                if last:
                    raise
            await asyncio.sleep(_PAUSE)
        return False

    async def _consumer(self, queue: QueueName) -> None:
        if self._connection != self._api.connections:
            # Another server may be there now, or another life of this one.
            self._connection = self._api.connections
            self._queues.clear()
        if queue not in self._queues:
            await ensure_consumer(self._api, self._settings, queue)
            self._queues.add(queue)

    async def _tell_queued(self, place: Place, record: JobRecord) -> None:
        try:
            await tell_queued(self._api, place.tenant, place.job, record)
        except Unavailable:
            # The job is taken, and its first run will be told of.
            return

    async def _tell_worker(self, tenant: str, job: str) -> None:
        """Have the job's worker hear of it now. One that does not will find it in the record."""
        try:
            await self._api.ask(job_subject.control(tenant, job), _CANCEL, _CONTROL_PATIENCE)
        except JetStreamError:
            return


def _read(place: Place, message: bytes) -> Work:
    """The job as whoever runs it will read it. BadPayload when nobody could."""
    try:
        return read_work(subject.work(*place), message)
    except BadWork as error:
        raise _no_payload(f"no worker could read it: {error}") from None


def _no_payload(why: str) -> BadPayload:
    return BadPayload(why, [{"loc": [], "msg": why}])


def _canonical(payload: Any) -> str:  # noqa: ANN401 - JSON
    """The same text for what is the same JSON: to Python, true would be 1."""
    return json.dumps(payload, sort_keys=True)


def _job_id(tenant: str, key: str | None) -> str:
    """A new job's id; always the same one for a key."""
    if key is None:
        return _digits(time.time_ns() // 1_000_000, _TIME_DIGITS) + _digits(secrets.randbits(40), _RANDOM_DIGITS)
    if not isinstance(key, str) or not 1 <= len(key) <= _LONGEST_KEY:
        raise ValueError(f"a key has 1 to {_LONGEST_KEY} characters")
    digest = hashlib.sha256(f"{tenant}\0{key}".encode()).digest()[:_KEY_BYTES]
    return "key-" + _digits(int.from_bytes(digest), _KEY_BYTES * 8 // 5)


def _digits(number: int, count: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range((count - 1) * 5, -1, -5))
