"""Processes that are killed under load: nats-server, the hub, a node of the cluster."""

from __future__ import annotations

import asyncio

from chaos.observer import leader_of
from chaos.program import Spec
from chaos.server import CLUSTER_SIZE
from chaos.stage import Stage


async def nats_killed(stage: Stage) -> None:
    """nats-server is SIGKILLed and started again on the same store, under load."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    events = stage.scale(2_400, 800)
    kills = stage.decide("kills", stage.dice.moments(stage.scale(3, 1), 100, events - 200))
    job = await stage.program(nats.url, Spec(events=events, rate=500, marks=kills), lease=20)
    readers = stage.audience(hub)
    for mark in kills:
        await job.reported(mark)
        await nats.kill()
        await nats.start()
    await job.finished()
    stage.verdict.require(job.closed, "the reporter closed with events unsent")
    ledger = await stage.ended(nats.url)
    await stage.conclude(ledger, readers, published=events)
    await hub.ready()
    await stage.check_snapshot(hub, ledger)


async def nats_hangs(stage: Stage) -> None:
    """nats-server stops answering, its connections open, and goes on later."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    events = stage.scale(1_500, 800)
    mark = stage.decide("stops at", stage.dice.whole(100, events // 2))
    seconds = stage.decide("for seconds", round(stage.dice.share(0.5, 2.0), 2))
    job = await stage.program(nats.url, Spec(events=events, rate=500, marks=[mark]), lease=20)
    readers = stage.audience(hub)
    await job.reported(mark)
    nats.pause()
    try:
        await asyncio.sleep(seconds)  # how long it hangs
    finally:
        nats.resume()
    await job.finished()
    await stage.conclude(await stage.ended(nats.url), readers, published=events)


async def hub_killed(stage: Stage) -> None:
    """The hub is SIGKILLed and started again under load; everybody comes back by cursor."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    events = stage.scale(2_500, 1_000)
    kills = stage.decide("kills", stage.dice.moments(stage.scale(3, 1), 100, events - 200))
    job = await stage.program(nats.url, Spec(events=events, rate=400, marks=kills), lease=20)
    readers = stage.audience(hub, websockets=6)
    for mark in kills:
        await job.reported(mark)
        await hub.kill()
        await hub.start()
        stage.rest(hub)
    await job.finished()
    ledger = await stage.ended(nats.url)
    await stage.conclude(ledger, readers, published=events)
    await stage.check_snapshot(hub, ledger)


async def other_hub(stage: Stage) -> None:
    """Cursors of hub A resume at hub B, which never saw the job; both are restarted in between."""
    nats = await stage.nats()
    first, second = await stage.hub(nats.url, "hub-a"), await stage.hub(nats.url, "hub-b")
    events = stage.scale(1_200, 600)
    leave = stage.decide("readers leave after", stage.dice.moments(8, 20, events // 2))
    held = events * 3 // 4
    job = await stage.program(nats.url, Spec(events=events, rate=500, hold_at=held, marks=[held]), lease=30)
    readers = stage.audience(first, websockets=4)
    for reader, count in zip(readers, leave, strict=True):
        await reader.came(count)
        await reader.leave()
    await job.reported(held)
    await asyncio.gather(first.kill(), second.kill())
    await asyncio.gather(first.start(), second.start())
    stage.rest(first)
    stage.rest(second)
    for reader in readers:
        reader.target = reader.target._replace(url=second.url)
        reader.start()
    job.go_on()
    await job.finished()
    ledger = await stage.ended(nats.url)
    await stage.conclude(ledger, readers, published=events)
    await stage.check_snapshot(first, ledger)
    await stage.check_snapshot(second, ledger)


async def cluster_rolls(stage: Stage) -> None:
    """Three nodes, three replicas: nodes are SIGKILLed in turn, the stream's leader every other time, under load.

    A reporter's order holds through every change of leader: its log counts from 1 without a hole or a swap.
    """
    cluster = await stage.cluster()
    # the program reports until all the killing is done, however long that takes: retention must not pass it by
    hub = await stage.hub(cluster.url, bridge_log_replicas=3, bridge_log_events_per_job=200_000)
    await stage.replicated(cluster.url)
    first = stage.decide("first node", stage.dice.whole(0, 2))
    kills = stage.scale(8, 2)
    waits = stage.decide("events before each kill", [stage.dice.whole(20, 200) for _ in range(kills)])
    job = await stage.program(cluster.url, Spec(endless=True, rate=400), lease=30)
    readers = stage.audience(hub)
    killed = []
    for turn, wait in enumerate(waits):
        await readers[0].came(readers[0].reading.delivered + wait)
        leader = cluster.place(await leader_of(cluster.url))
        place = leader if turn % 2 == 0 else (first + turn) % CLUSTER_SIZE
        await cluster.nodes[place].kill()
        killed.append(place)
        # the two others go on without it
        await readers[0].came(readers[0].reading.delivered + wait)
        await cluster.nodes[place].start()
        await stage.replicated(cluster.url)
    job.go_on()
    await job.finished()
    stage.verdict.require(job.closed, "the reporter closed with events unsent")
    ledger = await stage.ended(cluster.url)
    await stage.conclude(ledger, readers, published=job.events)
    await stage.check_snapshot(hub, ledger)
    stage.note(f"killed n{', n'.join(str(place + 1) for place in killed)}, every other one as the leader")
