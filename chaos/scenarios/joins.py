"""When clients join: before a job is born, while it is, in heavy publishing, and long after; alone and in crowds."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Final

from chaos.hub import HubProcess
from chaos.judge import differences
from chaos.polling_reader import PollingReader
from chaos.program import Spec
from chaos.publisher import publisher
from chaos.reader import Reader, leave_all
from chaos.reading import Snapshot
from chaos.requests import Requests, requests
from chaos.stage import Stage
from chaos.waiting import until
from chaos.websocket_reader import WebSocketReader

_READS: Final = 'milepost_hub_history_total{source="read"}'
_TIMED: Final = 20
_GLANCE: Final = 0.000_5
"""Seconds between looks at what is timed."""
_BORN_WITHIN: Final = 300
"""Events of a job while which readers join."""

_MANNERS: Final[tuple[Callable[[Stage, HubProcess, str], Reader], ...]] = (
    lambda stage, hub, job: stage.websocket(hub, job, after="start"),
    lambda stage, hub, job: stage.websocket(hub, job),
    lambda stage, hub, job: stage.sse(hub, job, after="start"),
    lambda stage, hub, job: stage.sse(hub, job),
    lambda stage, hub, job: stage.polling(hub, job, after="start"),
    lambda stage, hub, job: stage.polling(hub, job),
)
"""Every transport, from the start and with a snapshot."""


async def job_born(stage: Stage) -> None:
    """Readers of every sort join before and while jobs are born and say their first hundreds of events.

    Whoever asked for the start has every event from the first one.
    """
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    for number in range(stage.scale(12, 4)):
        job = f"job-{number}"
        joins = stage.decide(f"{job} joins", _moments(stage, stage.scale(36, 18)))
        # every other job is told by our library, the rest by a raw publisher in a burst
        if number % 2:
            await _born_reporting(stage, nats.url, hub, job, joins)
        else:
            await _born_flooding(stage, nats.url, hub, job, joins)


def _moments(stage: Stage, count: int) -> list[int]:
    """Behind how many events each reader joins; a third are there before the first, another third in the first 20."""
    third = count // 3
    early = [stage.dice.whole(1, 20) for _ in range(third)]
    later = [stage.dice.whole(21, _BORN_WITHIN) for _ in range(count - 2 * third)]
    return sorted([0] * third + early + later)


def _join(stage: Stage, hub: HubProcess, job: str, place: int) -> Reader:
    return _MANNERS[place % len(_MANNERS)](stage, hub, job)


async def _born_reporting(stage: Stage, url: str, hub: HubProcess, job: str, joins: list[int]) -> None:
    readers = [_join(stage, hub, job, place) for place, moment in enumerate(joins) if not moment]
    later = joins[len(readers) :]
    program = await stage.program(url, Spec(jobs=[job], events=2 * _BORN_WITHIN, rate=1_000, marks=later), lease=20)
    for moment in later:
        await program.reported(moment)
        readers.append(_join(stage, hub, job, len(readers)))
    await program.finished()
    ledger = await stage.ended(url, job)
    await stage.conclude(ledger, readers, published=program.spec.events)
    await stage.check_snapshot(hub, ledger)


async def _born_flooding(stage: Stage, url: str, hub: HubProcess, job: str, joins: list[int]) -> None:
    readers = [_join(stage, hub, job, place) for place, moment in enumerate(joins) if not moment]
    async with publisher(url, stage.tenant, job) as raw:
        for moment in joins[len(readers) :]:
            await raw.flood(moment - raw.published)
            readers.append(_join(stage, hub, job, len(readers)))
        await raw.flood(2 * _BORN_WITHIN - raw.published)
        await raw.publish({"kind": "job", "status": "completed"})
        ledger = await stage.ended(url, job)
        await stage.conclude(ledger, readers, published=raw.published)
    await stage.check_snapshot(hub, ledger)


async def live_attach(stage: Stage) -> None:
    """Clients join at random moments of heavy publishing: with a snapshot, from the start, with a cursor.

    Each snapshot is the reduction of the events up to its cursor, and the events behind it follow, each once.
    """
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    events = stage.scale(8_000, 3_000)
    joiners = stage.scale(40, 16)
    moments = stage.decide("joins at", stage.dice.moments(joiners, 1, events - 100))
    manners = stage.decide("manners", [stage.dice.whole(0, 3) for _ in moments])
    job = await stage.program(nats.url, Spec(events=events, rate=stage.scale(1_600, 1_500), marks=moments))
    readers: list[Reader] = [stage.websocket(hub, after="start")]
    for moment, manner in zip(moments, manners, strict=True):
        await job.reported(moment)
        cursor = readers[0].reading.cursor
        if manner == 0:
            readers.append(stage.websocket(hub))
        elif manner == 1:
            readers.append(stage.websocket(hub, after="start"))
        elif manner == 2:
            readers.append(stage.websocket(hub, after=cursor))
        else:
            readers.append(stage.sse(hub))
    readers.append(stage.polling(hub, after="start"))
    await job.finished()
    ledger = await stage.ended(nats.url)
    await stage.conclude(ledger, readers, published=events)
    await stage.check_snapshot(hub, ledger)


async def late_joiners(stage: Stage) -> None:
    """Many more events than the log keeps: a fresh snapshot is the reduction of all of them, and costs little."""
    events, kept = stage.scale(50_000, 8_000), stage.scale(10_000, 2_000)
    nats = await stage.nats()
    hub = await stage.hub(nats.url, bridge_log_events_per_job=kept)
    stage.memory *= 3
    async with stage.recording(nats.url) as recorder:
        program = await stage.program(nats.url, Spec(events=events, rate=0), lease=60)
        await program.finished()
        last = await stage.ended(nats.url)
        await until(lambda: recorder.has_all_of(last), "every event recorded")
        ledger = recorder.ledger()
    stage.verdict.require(len(last.entries) <= kept + 1, f"the log kept {len(last.entries)} events, not {kept}")
    # a hub with nothing in its memory
    await hub.kill()
    await hub.start()
    stage.rest(hub)
    readers: list[Reader] = []
    async with requests(nats.url) as asked:
        for join in (stage.websocket, stage.sse, stage.polling):
            readers += await _one_by_one(stage, hub, join, asked)
            readers += await _crowd(stage, hub, join, asked)
        await _time_snapshots(stage, hub)
    expected = ledger.reduced(len(ledger.live))
    await stage.check_snapshot(hub, ledger, expected=expected)
    for reader in readers:
        wrong = differences(reader.reading.of(Snapshot)[0].snapshot, expected)
        stage.verdict.require(not wrong, f"{reader.name} got a snapshot in which {sorted(wrong)} are not the job's")
        reader.start()
    await stage.conclude(ledger, readers, published=events, reduce=False)
    # who asks for the start has what is kept, in order, whatever went before it
    await stage.attend(last, stage.audience(hub))


async def _one_by_one(
    stage: Stage, hub: HubProcess, join: Callable[[HubProcess], Reader], asked: Requests
) -> list[Reader]:
    """Joiners who find nobody else there."""
    readers = []
    took = []
    before = asked.count
    for _ in range(_TIMED):
        begun = time.monotonic()
        reader = join(hub)
        await until(lambda reading=reader.reading: reading.of(Snapshot), "a snapshot", every=_GLANCE)  # type: ignore[misc]
        took.append(time.monotonic() - begun)
        readers.append(reader)
        await reader.leave()
    each = (asked.count - before) / _TIMED
    _note_times(stage, f"alone on {readers[0].transport}", took, f", {each:.1f} requests to nats-server each")
    return readers


async def _crowd(stage: Stage, hub: HubProcess, join: Callable[[HubProcess], Reader], asked: Requests) -> list[Reader]:
    """Joiners who come all at once. Those who stay are served from what was read for the first.

    An ended job's stream ends when it has told so, and whoever polls holds nothing: if nobody else is there at the
    moment, the next one costs a read again.
    """
    reads, requested = await _reads(hub), asked.count
    begun = time.monotonic()
    crowd = [join(hub) for _ in range(stage.scale(1_000, 200))]
    await asyncio.gather(*map(_pictured, crowd))
    seconds = time.monotonic() - begun
    reads, requested = await _reads(hub) - reads, asked.count - requested
    transport = crowd[0].transport
    counted = f"{reads} reads of the history, " if transport != PollingReader.transport else ""
    stage.note(
        f"{len(crowd)} joiners at once on {transport}: {counted}{requested} requests to nats-server, "
        f"all have their snapshot after {seconds:.1f} s"
    )
    if transport == WebSocketReader.transport:
        stage.verdict.require(reads == 1, f"{len(crowd)} joiners at once cost {reads} reads")
    await leave_all(crowd)
    return crowd


async def _time_snapshots(stage: Stage, hub: HubProcess) -> None:
    took = []
    for _ in range(_TIMED):
        begun = time.monotonic()
        await stage.snapshot(hub)
        took.append(time.monotonic() - begun)
    _note_times(stage, "from GET /api/jobs/{id}", took)


def _note_times(stage: Stage, how: str, took: list[float], more: str = "") -> None:
    median, worst = statistics.median(took) * 1_000, max(took) * 1_000
    stage.note(f"a late joiner's snapshot {how}: {median:.0f} ms median, {worst:.0f} ms worst of {len(took)}{more}")


async def _pictured(reader: Reader) -> None:
    await reader.until(lambda: reader.reading.of(Snapshot), "a snapshot", 60)


async def _reads(hub: HubProcess) -> int:
    """How often this hub has read a watched job's history so far."""
    return int((await hub.metrics()).get(_READS, 0))
