"""Submitted jobs, and workers that die, freeze, or lose NATS while they run them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from milepost_runner import JobRunner
from milepost_runner.errors import QueueUnavailable
from milepost_runner.registry import Registry
from milepost_runner.settings import RunnerSettings
from milepost_runner.store import Job

from chaos.dice import Dice
from chaos.ledger import Ledger
from chaos.reader import Reader
from chaos.stage import Stage
from chaos.waiting import until_async
from chaos.worker import CLAIM, WorkerProcess

_Harm = Callable[[list[WorkerProcess]], Awaitable[None]]

_WORKERS: Final = 3
_WATCHED: Final = 6
"""Jobs that readers of all sorts follow from the start."""


async def workers_killed(stage: Stage) -> None:
    """Workers are SIGKILLed and started again while they run submitted jobs: every job ends once."""
    nats = await stage.nats()
    kills = stage.decide("kills", _moments(stage.dice.branch("kills"), stage.scale(12, 4)))

    async def harm(workers: list[WorkerProcess]) -> None:
        for pause, place in kills:
            await asyncio.sleep(pause)  # when it dies
            await workers[place].kill()
            await workers[place].start()

    await _work(stage, nats.url, harm)


async def workers_frozen(stage: Stage) -> None:
    """Workers are SIGSTOPped for longer than their claims, and go on: what they had has run elsewhere."""
    nats = await stage.nats()
    stops = stage.decide("stops", _moments(stage.dice.branch("stops"), stage.scale(6, 2)))

    async def harm(workers: list[WorkerProcess]) -> None:
        for pause, place in stops:
            await asyncio.sleep(pause)  # when it freezes
            workers[place].pause()
            await asyncio.sleep(2 * CLAIM + pause)  # for how long
            workers[place].resume()

    await _work(stage, nats.url, harm)


async def workers_without_nats(stage: Stage) -> None:
    """nats-server is SIGKILLed and started again on the same store while workers run submitted jobs."""
    nats = await stage.nats()
    kills = stage.decide("kills", _moments(stage.dice.branch("kills"), stage.scale(4, 2)))

    async def harm(workers: list[WorkerProcess]) -> None:
        for pause, _ in kills:
            await asyncio.sleep(pause)  # when it dies
            await nats.kill()
            await nats.start()

    await _work(stage, nats.url, harm)


def _moments(dice: Dice, count: int) -> list[tuple[float, int]]:
    """After how many seconds, and which worker."""
    return [(round(dice.share(0.05, 0.6), 3), dice.whole(0, _WORKERS - 1)) for _ in range(count)]


async def _work(stage: Stage, url: str, harm: _Harm) -> None:
    """Submit jobs while harm is done, let them end, and judge log, store and readers."""
    hub = await stage.hub(url)
    workers = [await stage.worker(url) for _ in range(_WORKERS)]
    settings = RunnerSettings(claim=CLAIM, reconnect_wait=0.05, reconnect_wait_max=0.5, ping_interval=1)
    async with JobRunner(url, stage.tenant, settings=settings, registry=Registry()) as runner:
        harming = asyncio.ensure_future(harm(workers))
        jobs = await _submit(stage, runner, harming)
        watched = {job: stage.audience(hub, job, websockets=1, streams=1, polls=1) for job in jobs[:_WATCHED]}
        await harming
        ended = [await runner.store.wait(job) for job in jobs]
    for number, job in enumerate(ended):
        stage.verdict.require(
            (job.status, job.result) == ("completed", number),
            f"{job.id}: {job.status} with {job.result!r}: {job.error}",
        )
        await _judge(stage, url, job, watched.get(job.id, []))
    stage.note(
        f"{sum(job.run > 1 for job in ended)} of {len(ended)} jobs ran more than once, {_most(ended)} times at most"
    )
    for worker in workers:
        status = await worker.stop()
        stage.verdict.require(status == 0, f"{worker.process.name} ended with {status} on SIGTERM")


async def _submit(stage: Stage, runner: JobRunner, harming: asyncio.Future[None]) -> list[str]:
    """At least so many jobs, and as many more as it takes until no more harm is done."""
    lengths = stage.dice.branch("lengths")
    jobs: list[str] = []
    while len(jobs) < stage.scale(500, 100) or not harming.done():
        payload = {"number": len(jobs), "seconds": round(lengths.share(0.03, 0.25), 4)}
        jobs.append(await _submitted(runner, payload))
        await asyncio.sleep(0.01)  # the jobs come as time goes by
    return jobs


async def _submitted(runner: JobRunner, payload: dict[str, float]) -> str:
    """The job's id, however often it takes to get it: with a key that is safe."""
    found: list[str] = []

    async def submit() -> bool:
        try:
            found.append(await runner.submit("chaos_step", payload, key=str(payload["number"])))
        except QueueUnavailable:
            return False
        return True

    await until_async(submit, "a job submitted")
    return found[0]


async def _judge(stage: Stage, url: str, job: Job, readers: list[Reader]) -> None:
    ledger = await stage.ended(url, job.id, run=job.run, seconds=30)
    await stage.conclude(ledger, readers, published=None)
    _judge_ends(stage, ledger, job)


def _judge_ends(stage: Stage, ledger: Ledger, job: Job) -> None:
    """One end, that of the run of which the store tells; and what anybody said after it was late."""
    told = {run: ledger.events[ledger.live.index(entry)].status for run, entry in ledger.ends.items()}
    stage.verdict.require(
        told == {job.run: job.status}, f"{job.id}: ends {told}, the store: run {job.run} {job.status}"
    )


def _most(jobs: list[Job]) -> int:
    return max(job.run for job in jobs)
