"""How jobs end: killed at any moment, raced by watchdogs, said twice, on wrong clocks."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import Final

from chaos.hub import HubProcess
from chaos.job import JobProcess
from chaos.ledger import Ledger
from chaos.program import Spec
from chaos.publisher import publisher
from chaos.reader import Reader
from chaos.stage import Stage
from chaos.waiting import until_async

_LEASE: Final = 1.0
_HOUR: Final = 3_600.0


async def reporter_killed(stage: Stage) -> None:
    """Job programs are SIGKILLed at ten different moments: each run has exactly one end, the same for everybody."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    events = 300
    dice = stage.dice
    middle = dice.moments(4, 60, events - 3)
    moments = {
        "first stored": Spec(rate=600, die_at=1, die_when="stored"),
        "early, stored": Spec(rate=600, die_at=middle[0], die_when="stored"),
        "early": Spec(rate=600, die_at=middle[1], die_when="reported"),
        "middle": Spec(rate=600, die_at=middle[2], die_when="reported"),
        "middle, stored": Spec(rate=600, die_at=middle[3], die_when="stored"),
        "in a burst": Spec(rate=0, die_at=events - 1, die_when="reported"),
        "last, stored": Spec(rate=600, die_at=events, die_when="stored"),
        "ended": Spec(rate=600, die_when="ended"),
        "closed": Spec(rate=600, die_when="closed"),
        "silent": Spec(rate=600, hold_at=middle[3], marks=[middle[3]]),
    }
    stage.decide("moments", {name: asdict(spec) for name, spec in moments.items()})
    jobs = {}
    for number, spec in enumerate(moments.values()):
        job = f"job-{number}"
        jobs[job] = await stage.program(nats.url, replace(spec, jobs=[job], events=events), lease=_LEASE)
    audiences = {job: stage.audience(hub, job, websockets=2, streams=1, polls=1) for job in jobs}
    silent = list(jobs)[-1]
    await jobs[silent].reported(middle[3])
    # it beats through more than two leases of saying nothing, and nobody may end it meanwhile
    await asyncio.sleep(2.5 * _LEASE)
    ledger = await stage.ledger(nats.url, silent)
    stage.verdict.require(not ledger.ends, "a job that only had nothing to say was declared lost")
    await jobs[silent].kill()
    for job, process in jobs.items():
        await process.finished()
        await _judge_killed(stage, hub, nats.url, job, audiences[job])


async def _judge_killed(stage: Stage, hub: HubProcess, url: str, job: str, readers: list[Reader]) -> None:
    ledger = await stage.ended(url, job, seconds=30)
    # readers that come when all is over learn of the same end
    everybody = readers + stage.audience(hub, job, websockets=1, streams=1, polls=1)
    everybody.append(stage.websocket(hub, job))
    await stage.conclude(ledger, everybody, published=None)
    await stage.check_snapshot(hub, ledger)
    stage.verdict.require(len(ledger.ends) == 1, f"{job} has {len(ledger.ends)} ends")


async def watchdogs_race(stage: Stage) -> None:
    """Two hubs with a watchdog each, and jobs that fall silent for about their lease and then end by themselves."""
    nats = await stage.nats()
    hubs = [await stage.hub(nats.url, "hub-a"), await stage.hub(nats.url, "hub-b")]
    rounds, each = stage.scale(10, 4), 4
    pauses = stage.decide("silent for leases", [round(stage.dice.share(0.4, 1.3), 2) for _ in range(rounds)])
    processes = []
    for number in range(rounds):
        jobs = [f"race-{number}-{place}" for place in range(each)]
        processes.append(await stage.program(nats.url, Spec(jobs=jobs, events=20, rate=0, hold_at=20), lease=_LEASE))
    await asyncio.gather(*(_watches(hub, rounds * each) for hub in hubs))
    await asyncio.gather(*map(_fall_silent, processes, pauses))
    jobs = [job for process in processes for job in process.spec.jobs]
    statuses = {"completed": 0, "failed": 0}
    for job in jobs:
        ledger = await stage.ended(nats.url, job, seconds=30)
        stage.verdict.require(len(ledger.ends) == 1, f"{job} has {len(ledger.ends)} ends")
        readers = [reader for hub in hubs for reader in stage.audience(hub, job, websockets=1, streams=1, polls=1)]
        await stage.conclude(ledger, readers, published=None)
        statuses[_end_status(ledger)] += 1
    stage.note(f"{statuses['completed']} jobs ended themselves, {statuses['failed']} were declared lost")


async def _watches(hub: HubProcess, jobs: int) -> None:
    """Return when this hub's watchdog waits for the beats of so many jobs."""

    async def watched() -> bool:
        return (await hub.metrics()).get("milepost_watchdog_jobs", 0) >= jobs

    await until_async(watched, f"{hub.name} watches {jobs} jobs")


async def _fall_silent(process: JobProcess, leases: float) -> None:
    process.pause()
    await asyncio.sleep(leases * _LEASE)  # the silence itself
    process.go_on()
    process.resume()
    await process.finished()


def _end_status(ledger: Ledger) -> str:
    place = ledger.index[next(iter(ledger.ends.values())).cursor]
    return str(ledger.events[place].status)


async def died_unwatched(stage: Stage) -> None:
    """Jobs die while no hub runs, and while nats-server is away; one lives through both. The dead have one end each."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    events = 100
    held = {
        job: await stage.program(nats.url, Spec(jobs=[job], events=events, rate=0, hold_at=events // 2), lease=_LEASE)
        for job in ("without-hub", "without-nats", "lives")
    }
    await _watches(hub, len(held))
    readers = {job: stage.audience(hub, job, websockets=2, streams=1, polls=1) for job in held}
    await nats.kill()
    await held["without-nats"].kill()
    await nats.start()
    await hub.ready()
    await hub.kill()
    await held["without-hub"].kill()
    await hub.start()
    stage.rest(hub)
    for job in ("without-hub", "without-nats"):
        ledger = await stage.ended(nats.url, job)
        stage.verdict.require(_end_status(ledger) == "failed", f"{job} ended {_end_status(ledger)}")
        await stage.conclude(ledger, readers[job], published=None)
    held["lives"].go_on()
    await held["lives"].finished()
    ledger = await stage.ended(nats.url, "lives")
    stage.verdict.require(_end_status(ledger) == "completed", f"the living job ended {_end_status(ledger)}")
    await stage.conclude(ledger, readers["lives"], published=events)


async def two_ends(stage: Stage) -> None:
    """Terminal events published raw, twice and on both subjects: the first is the end, the rest is late."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    jobs = stage.scale(8, 4)
    statuses = ("completed", "failed", "cancelled")
    for number in range(jobs):
        job = f"job-{number}"
        readers = stage.audience(hub, job, websockets=2, streams=1, polls=1)
        ends = stage.decide(f"{job} ends", [stage.dice.whole(0, 2) for _ in range(3)])
        async with publisher(nats.url, stage.tenant, job) as raw:
            await raw.flood(20)
            await stage.came(readers, 20)
            subjects = [None, raw.subject.replace(".progress", ".end.1"), None]
            if stage.dice.chance(0.5):
                subjects[:2] = subjects[1::-1]
            for end, subject in zip(ends, subjects, strict=True):
                await raw.publish({"kind": "job", "status": statuses[end]}, subject)
                await raw.publish({"kind": "log", "message": "said too late"})
        ledger = await stage.ledger(nats.url, job)
        stage.verdict.require(len(ledger.late) == 5, f"{job}: {len(ledger.late)} late events, not 5")
        readers += stage.audience(hub, job, websockets=1, streams=1, polls=1)
        readers.append(stage.websocket(hub, job))
        await stage.conclude(ledger, readers, published=20)
        await stage.check_snapshot(hub, ledger)


async def wrong_clocks(stage: Stage) -> None:
    """Programs hours behind and ahead, and a hub three hours ahead: order is the log's, and nobody is declared lost."""
    nats = await stage.nats()
    hubs = [
        await stage.hub(nats.url, "hub-right"),
        await stage.hub(nats.url, "hub-ahead", clock_skew=3 * _HOUR),
    ]
    events = stage.scale(1_000, 500)
    skews = stage.decide("hours off", [-round(stage.dice.share(1, 20), 1), round(stage.dice.share(1, 20), 1)])
    processes = {}
    for number, hours in enumerate(skews):
        job = f"job-{number}"
        processes[job] = await stage.program(
            nats.url, Spec(jobs=[job], events=events, rate=250, skew=hours * _HOUR), lease=_LEASE
        )
    readers = {
        job: [each for hub in hubs for each in stage.audience(hub, job, websockets=2, streams=1, polls=1)]
        for job in processes
    }
    for job, process in processes.items():
        await process.finished()
        ledger = await stage.ended(nats.url, job)
        stage.verdict.require(_end_status(ledger) == "completed", f"{job} ended {_end_status(ledger)}")
        await stage.conclude(ledger, readers[job], published=events)
        for hub in hubs:
            await stage.check_snapshot(hub, ledger)
