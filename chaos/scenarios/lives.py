"""The stream's other lives: deleted and made again, its tail lost, no JetStream at first."""

from __future__ import annotations

from chaos.judge import Finding
from chaos.ledger import number_of
from chaos.observer import delete_streams
from chaos.publisher import publisher
from chaos.reader import leave_all
from chaos.reading import Delivered, Gap, Reading, Snapshot, Subscribed
from chaos.stage import Stage
from chaos.waiting import until


async def stream_deleted(stage: Stage) -> None:
    """The stream is deleted and made again: cursors of the old one are told to be foreign, and get a snapshot."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    first = stage.decide("events before", stage.dice.whole(100, 300))
    second = stage.decide("events after", stage.dice.whole(100, 300))
    readers = stage.audience(hub)
    async with publisher(nats.url, stage.tenant, "job") as job:
        await job.flood(first)
        old = await stage.ledger(nats.url)
        await stage.came(readers, first)
        await leave_all(readers)
        await delete_streams(nats.url)
        await hub.kill()
        await hub.start()
        stage.rest(hub)
        job.published = 0
        await job.flood(second)
        for reader in readers:
            reader.reborn()
            reader.start()
        await job.publish({"kind": "job", "status": "completed"})
    ledger = await stage.ended(nats.url)
    stage.verdict.stored(old, first)
    await stage.conclude(ledger, readers, published=second, before=[old], gaps=["epoch"])
    _require_gaps(stage, "epoch", len(readers))


async def tail_lost(stage: Stage) -> None:
    """An older copy of the store is restored, and other events take the places of those that are lost.

    Whoever stands in the part that both lives share goes on without a word; whoever stands behind it is told.
    """
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    shared = stage.decide("events in the copy", stage.dice.whole(100, 200))
    lost = stage.decide("events lost", stage.dice.whole(100, 200))
    after = stage.decide("events after", stage.dice.whole(300, 400))
    early = stage.audience(hub)
    late = stage.audience(hub)
    async with publisher(nats.url, stage.tenant, "job") as job:
        await job.flood(shared)
        await stage.came([*early, *late], shared)
        await leave_all(list(early))
        await nats.stop()
        nats.keep_copy(stage.directory / "copy")
        await nats.start()
    async with publisher(nats.url, stage.tenant, "job", shared) as job:
        await job.flood(lost, "is lost")
        await stage.came(late, shared + lost)
        await leave_all(list(late))
        old = await stage.ledger(nats.url)
        await hub.kill()
        await nats.kill()
        nats.restore_copy(stage.directory / "copy")
        await nats.start()
    async with publisher(nats.url, stage.tenant, "job", shared) as job:
        await job.flood(after)
        await job.publish({"kind": "job", "status": "completed"})
    await hub.start()
    stage.rest(hub)
    for reader in [*early, *late]:
        reader.reborn()
        reader.start()
    ledger = await stage.ended(nats.url)
    stage.verdict.stored(old, shared + lost)
    await stage.conclude(ledger, [*early, *late], published=shared + after, before=[old], gaps=["epoch"])
    _require_gaps(stage, "epoch", len(late))


async def tail_lost_live(stage: Stage) -> None:
    """The same under a hub that keeps running, and clients that stay: they are told too."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    shared = stage.decide("events in the copy", stage.dice.whole(50, 150))
    lost = stage.decide("events lost", stage.dice.whole(50, 150))
    after = stage.decide("events after", stage.dice.whole(200, 300))
    readers = stage.audience(hub)
    async with publisher(nats.url, stage.tenant, "job") as job:
        await job.flood(shared)
        await nats.stop()
        nats.keep_copy(stage.directory / "copy")
        await nats.start()
    async with publisher(nats.url, stage.tenant, "job", shared) as job:
        await job.flood(lost, "is lost")
        await stage.came(readers, shared + lost)
        old = await stage.ledger(nats.url)
        await nats.kill()
        for reader in readers:
            reader.reborn()
        nats.restore_copy(stage.directory / "copy")
        await nats.start()
    async with publisher(nats.url, stage.tenant, "job", shared) as job:
        await job.flood(after)
        await job.publish({"kind": "job", "status": "completed"})
    ledger = await stage.ended(nats.url)
    stage.verdict.stored(old, shared + lost)
    await stage.conclude(ledger, readers, published=shared + after, before=[old], gaps=["epoch"])
    _require_gaps(stage, "epoch", len(readers))


async def without_jetstream(stage: Stage) -> None:
    """JetStream is off: events come live and say that they are not kept. It is enabled: from then on they have cursors.

    The hub is never restarted.
    """
    nats = await stage.nats(jetstream=False)
    hub = await stage.hub(nats.url, durable=False)
    events = stage.decide("events each time", stage.dice.whole(100, 300))
    readers = [stage.websocket(hub) for _ in range(4)]
    for reader in readers:
        await until(lambda reading=reader.reading: reading.of(Subscribed), "subscribed")  # type: ignore[misc]
    async with publisher(nats.url, stage.tenant, "job") as job:
        await job.flood_live(events)
        await stage.came(readers, events)
        for reader in readers:
            _judge_live(stage, reader.reading, events)
            reader.reading.items.clear()
            reader.reading.delivered = 0
        await nats.with_jetstream()
    await hub.ready(durable=True)
    stage.rest(hub)
    async with publisher(nats.url, stage.tenant, "job") as job:
        await job.flood(events)
        await job.publish({"kind": "job", "status": "completed"})
    ledger = await stage.ended(nats.url)
    newcomers = stage.audience(hub)
    await stage.conclude(ledger, newcomers, published=events)
    for reader in readers:
        await reader.stands_at(ledger.live[-1].cursor)
    await leave_all(list(readers))
    for reader in readers:
        _judge_durable(stage, reader.reading, len(ledger.live))


def _judge_live(stage: Stage, reading: Reading, events: int) -> None:
    """Without a log: every number once and in order, no cursors, and it was said."""
    numbers = [number_of(item.payload) for item in reading.of(Delivered)]
    finding = Finding(delivered=len(numbers))
    stage.verdict.delivered += finding.delivered
    stage.verdict.published += events
    stage.verdict.require(numbers == list(range(1, events + 1)), f"{reading.name} got {len(numbers)} of {events}")
    for item in reading.of(Subscribed):
        stage.verdict.require(not item.durable, f"{reading.name} was told of a log that is not there")
    for item in [*reading.of(Delivered), *reading.of(Snapshot)]:
        stage.verdict.require(item.cursor is None, f"{reading.name} got a cursor {item.cursor} without a log")


def _judge_durable(stage: Stage, reading: Reading, events: int) -> None:
    """Who stayed over the change: whatever it was delivered since has a cursor, once each and in order.

    Events published before the hub knew of the log are in the snapshot that it got then, or were delivered.
    """
    cursors = [item.cursor for item in reading.of(Delivered)]
    places = [int(cursor.partition("-")[0]) for cursor in cursors if cursor]
    stage.verdict.require(None not in cursors, f"{reading.name} got events without a cursor from a log")
    stage.verdict.require(places == sorted(set(places)), f"{reading.name} got events twice or out of order")
    pictured = [int(item.cursor.partition("-")[0]) for item in reading.of(Snapshot) if item.cursor]
    begin = max(pictured, default=0)
    stage.verdict.require(places[-1:] in ([events], []), f"{reading.name} did not get the last event")
    missing = set(range(begin + 1, events + 1)) - set(places)
    stage.verdict.lost += len(missing)
    stage.verdict.delivered += len(places)


def _require_gaps(stage: Stage, reason: str, count: int) -> None:
    told = stage.verdict.gaps[reason]
    stage.verdict.require(told == count, f"{told} readers were told of a gap ({reason}), {count} had one")
    for reader in stage.readers:
        gaps = reader.reading.of(Gap)
        stage.verdict.require(len(gaps) <= 1, f"{reader.name} was told of {len(gaps)} gaps")
