"""What clients do: connections cut anywhere, reading slowly, coming back all at once."""

from __future__ import annotations

import asyncio
import time

from chaos.polling_reader import PollingReader
from chaos.program import Spec
from chaos.publisher import publisher
from chaos.reader import Reader, leave_all
from chaos.reading import Asked, Gap
from chaos.relay import Relay
from chaos.stage import Stage
from chaos.waiting import until

_TOO_SLOW = 4002
_LONG = "." * 2_000


async def cut_connections(stage: Stage) -> None:
    """Connections are cut at random byte positions, in the middle of frames, again and again."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    events = stage.scale(1_500, 600)
    cuts = stage.scale(120, 30)
    async with Relay(
        hub.port, stage.dice.branch("relay"), least=200, most=stage.scale(60_000, 40_000), cuts=cuts
    ) as relay:
        stage.decide("first cuts", [relay.budget(number) for number in range(10)])
        url = f"http://127.0.0.1:{relay.port}"
        readers = stage.audience(hub, websockets=8, streams=3, polls=2, url=url)
        job = await stage.program(nats.url, Spec(events=events, rate=500, padding=100))
        await job.finished()
        ledger = await stage.ended(nats.url)
        await stage.conclude(ledger, readers, published=events)
        stage.note(f"{relay.cut} connections cut")
        stage.verdict.require(relay.cut > cuts // 3, f"only {relay.cut} connections were cut")


async def retention_overtakes(stage: Stage) -> None:
    """The log keeps few events; whoever stood before them is told of a gap, gets a snapshot, and goes on."""
    kept = 400
    nats = await stage.nats()
    hub = await stage.hub(nats.url, bridge_log_events_per_job=kept)
    first = stage.decide("read before", stage.dice.whole(50, 300))
    more = stage.decide("published meanwhile", stage.dice.whole(2 * kept, 3 * kept))
    readers = stage.audience(hub)
    slow = stage.websocket(hub, after="start", slow=True)
    everybody = [*readers, slow]
    async with stage.recording(nats.url) as recorder, publisher(nats.url, stage.tenant, "job") as job:
        await job.flood(first)
        await stage.came(everybody, first)
        await leave_all(everybody)
        await job.flood(more, _LONG)
        for reader in everybody:
            reader.start()
        await until(lambda: all(reader.reading.of(Gap) for reader in everybody), "gaps told")
        newest = (await stage.ledger(nats.url)).live[-1].cursor
        await asyncio.gather(*(reader.stands_at(newest) for reader in readers))
        # in the middle of its replay this one stops reading, and retention passes it once more
        slow.reads.clear()
        await job.flood(more, _LONG)
        slow.reads.set()
        await job.publish({"kind": "job", "status": "completed"})
        last = await stage.ended(nats.url)
        await until(lambda: recorder.has_all_of(last), "every event recorded")
        ledger = recorder.ledger()
    # without state records a snapshot is the reduction of what is kept, and not of everything
    await stage.conclude(ledger, everybody, published=job.published, gaps=["retention"], reduce=False)
    for reader in readers:
        told, came = len(reader.reading.of(Gap)), len(reader.reading.of(Asked))
        # between two polls retention may pass by again, and while one comes back that was too slow; who stays is
        # delivered to
        most = told if isinstance(reader, PollingReader) else came - 1
        stage.verdict.require(1 <= told <= most, f"{reader.name} was told of {told} gaps, having come {came} times")
    stage.note(f"the slow reader was passed by {len(slow.reading.of(Gap))} times")


async def slow_consumers(stage: Stage) -> None:
    """Clients stop reading: `all` is closed with 4002 and resumes by cursor, `latest` is conflated and stays."""
    nats = await stage.nats()
    # how long they do not read is the publisher's time; that is not to be what anybody is closed for
    hub = await stage.hub(nats.url, write_wait=120)
    events = stage.scale(4_000, 2_000)
    everything = [stage.websocket(hub, after="start", slow=True) for _ in range(3)]
    latest = [stage.websocket(hub, mode="latest", slow=True) for _ in range(3)]
    steady = stage.audience(hub, websockets=1, streams=1, polls=1)
    async with publisher(nats.url, stage.tenant, "job") as job:
        await job.flood(10)
        await until(lambda: all(reader.reading.cursor for reader in [*everything, *latest]), "everybody there")
        for reader in [*everything, *latest]:
            reader.reads.clear()
        for number in range(events):
            await job.publish({"nodeId": number % 5, "rowCount": number, "message": _LONG})
            if number % (events // 20) == 0:
                await job.say()
        for reader in [*everything, *latest]:
            reader.reads.set()
        await job.publish({"kind": "job", "status": "completed"})
    ledger = await stage.ended(nats.url)
    await stage.conclude(
        ledger, [*everything, *latest, *steady], published=job.published, conflated=latest, reduce=False
    )
    for reader in everything:
        stage.verdict.require(
            _TOO_SLOW in reader.reading.closes, f"{reader.name} (all) was closed {reader.reading.closes}"
        )
    for reader in latest:
        stage.verdict.require(not reader.reading.closes, f"{reader.name} (latest) was closed {reader.reading.closes}")
        got = reader.reading.delivered
        stage.verdict.require(got < len(ledger.live), f"{reader.name} (latest) got all {got} events: nothing was slow")


async def reconnect_storm(stage: Stage) -> None:
    """The hub dies under very many clients, and they all come back at once, with cursors."""
    nats = await stage.nats()
    hub = await stage.hub(nats.url)
    stage.memory *= 3
    clients = stage.scale(2_000, 300)
    # handshakes of so many clients take this machine seconds; nothing else is waited for meanwhile
    readers: list[Reader] = []
    async with publisher(nats.url, stage.tenant, "job") as job:
        await job.flood(20)
        while len(readers) < clients:
            batch = [stage.websocket(hub, after="start") for _ in range(min(100, clients - len(readers)))]
            readers += batch
            await stage.came(batch, 20)
        readers += stage.audience(hub, websockets=0, streams=2, polls=2)
        await hub.kill()
        await job.flood(20)
        begun = time.monotonic()
        await hub.start()
        await stage.came(readers, 40)
        stage.note(f"{clients} clients were back {time.monotonic() - begun:.1f} s after the hub's start began")
        await job.flood(10)
        await job.publish({"kind": "job", "status": "completed"})
    ledger = await stage.ended(nats.url)
    await stage.conclude(ledger, readers, published=50)
