"""The right to run one job: taken, kept by heartbeats, lost, given back."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import Unavailable
from milepost_reporter.jetstream.stream import NANOSECONDS

from milepost_runner.lifecycle import tell_end
from milepost_runner.puller import Delivery
from milepost_runner.record import JobRecord, Turn, decide, waiting
from milepost_runner.records import Kept, Records
from milepost_runner.work import Work

_AGAIN: Final = 0.2
"""Seconds until NATS is asked again that could not be."""


class ClaimLost(Exception):  # noqa: N818 - what happened
    """Somebody else has the job: this worker was not heard of for too long."""


class Claim:
    """A job that is this worker's to run. Made by `take`; belongs to one event loop.

    `record` is as last written. Every change of it raises ClaimLost when the job is somebody else's, and otherwise
    waits until NATS has taken it, however long NATS is away.
    """

    def __init__(self, api: Api, records: Records, work: Work, delivery: Delivery, kept: Kept) -> None:
        self._api = api
        self._records = records
        self._reply = delivery.reply
        self._revision = kept.revision
        self._changing = asyncio.Lock()
        self.work = work
        self.record = kept.record

    def delivered_again(self, reply: str) -> None:
        """The job was delivered once more to the very worker that runs it: it is answered there from now on."""
        self._reply = reply

    def beat(self) -> None:
        """Say that the job is still being run."""
        self._api.send(self._reply, b"+WPI")

    def acknowledge(self) -> None:
        """The job is done with. Should this get lost, whoever gets the job next finds it so and says it again."""
        self._api.send(self._reply, b"+ACK")

    def give_back(self, pause: float = 0.0) -> None:
        """Let the job be delivered again, after so many seconds."""
        told = json.dumps({"delay": round(pause * NANOSECONDS)}) if pause > 0 else ""
        self._api.send(self._reply, f"-NAK {told}".strip().encode())

    async def change(self, change: Callable[[JobRecord], JobRecord]) -> JobRecord:
        """Write the record as changed; `change` is called again when somebody has told it to stop meanwhile."""
        tenant, _, job = self.work.place
        tried: list[JobRecord] = []
        async with self._changing:
            while True:
                record = change(self.record)
                tried.append(record)
                try:
                    revision = await self._records.write(tenant, job, record, self._revision)
                    if revision is not None:
                        self._revision, self.record = revision, record
                        return record
                    if await self._reread(tried):
                        return self.record
                except Unavailable:
                    await asyncio.sleep(_AGAIN)

    async def refresh(self) -> JobRecord:
        """The record as it is now."""
        async with self._changing:
            while True:
                try:
                    await self._reread([])
                except Unavailable:
                    await asyncio.sleep(_AGAIN)
                else:
                    return self.record

    async def _reread(self, tried: list[JobRecord]) -> bool:
        """Take in what is written. Whether it is one of those that were tried: the answer to that had been lost."""
        tenant, _, job = self.work.place
        kept = await self._records.written(tenant, job, self.work)
        if kept is not None and kept.record in tried:
            self._revision, self.record = kept.revision, kept.record
            return True
        if kept is None or kept.record.claim != self.record.claim or kept.record.run != self.record.run:
            raise ClaimLost(_whose(job, kept))
        self._revision, self.record = kept.revision, kept.record
        return False


def _whose(job: str, kept: Kept | None) -> str:
    if kept is None:
        return f"nothing is known of job {job} any more"
    return f"job {job} is run by {kept.record.worker or 'nobody'} now"


async def take(api: Api, records: Records, work: Work, delivery: Delivery, *, worker: str, deaths: int) -> Claim | None:
    """Claim a job that was delivered; None when there is nothing to run, and all that was left to do is done.

    Who was frozen with the delivery in hand may find that it was delivered to another since, who runs it: then nothing
    is done, and nothing answered. Should NATS have forgotten how often it was delivered, it comes again.

    Raises:
        Unavailable: nothing is known of it; it is delivered again.
    """
    tenant, _, job = work.place
    claim = secrets.token_hex(8)
    # Who gets it first usually finds no record: looking is for those who do not.
    kept = await records.written(tenant, job, work) if delivery.times > 1 else None
    while True:
        known = kept or Kept(waiting(work), 0)
        if known.record.claim == claim:  # the answer to our own writing had been lost
            return Claim(api, records, work, delivery, known)
        if known.record.claim is not None and delivery.times <= known.record.delivered:
            return None
        turn, record = decide(known.record, worker=worker, claim=claim, deaths=deaths, at=datetime.now(UTC))
        if turn is Turn.RUN:
            record = record.changed(delivered=delivery.times)
        try:
            revision = 0 if turn is Turn.TOLD else await records.write(tenant, job, record, known.revision)
        except Unavailable:
            # It may have been written. Left alone, it would pass for a worker that died with the job.
            kept = await _when_available(records, work)
            if kept is not None and kept.record.claim == claim:
                return Claim(api, records, work, delivery, kept)
            raise
        if revision is None:
            kept = await records.written(tenant, job, work)
        elif turn is Turn.RUN:
            return Claim(api, records, work, delivery, Kept(record, revision))
        else:
            await tell_end(api, tenant, job, record)
            api.send(delivery.reply, b"+ACK")
            return None


async def _when_available(records: Records, work: Work) -> Kept | None:
    """A job's record, however long NATS is away."""
    tenant, _, job = work.place
    while True:
        try:
            return await records.written(tenant, job, work)
        except Unavailable:
            await asyncio.sleep(_AGAIN)
