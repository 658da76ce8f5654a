"""End to end: a job's events through NATS, bridge and hub to bare clients, through the faults of all three."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
from milepost_bridge import Bridge, BridgeSettings
from milepost_hub import HubSettings, KeySource, Verifier
from milepost_hub.signer import Signer
from milepost_hub.token import issue
from milepost_reporter import Reporter
from milepost_reporter.cancel import CancelToken
from milepost_runner.jobs import Jobs
from milepost_runner.progress import Progress
from milepost_runner.registry import Registry
from milepost_runner.settings import WorkerSettings
from milepost_runner.worker import Worker

from milepost.desk import Desk
from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.hub.live_hub import EVENT, LiveHub, a_client, a_watcher, watchers
from tests.hub.raw_client import RawClient, frame
from tests.hub.signers import SECRET
from tests.waiting import eventually_async


class Spine(LiveHub):
    """A hub with the bridge that feeds it."""

    bridge: Bridge


@contextlib.asynccontextmanager
async def spine(server: NatsServer, **settings: object) -> AsyncIterator[Spine]:
    quick = BridgeSettings(ping_interval=0.2, connect_timeout=0.5, reconnect_wait=0.05, linger=0.05)
    figures = HubSettings.model_validate({"port": 0, "drain_seconds": 0, "write_wait": 2, **settings})
    async with (
        KeySource(secrets=[SECRET]) as keys,
        Spine(figures, Verifier(keys)) as hub,
        Bridge(server.url, hub, settings=quick) as hub.bridge,
    ):
        await eventually_async(lambda: hub.up)
        yield hub
    assert hub.empty


def a_tenant() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


def subject(tenant: str, job: str | int) -> bytes:
    return f"tenant.{tenant}.job.{job}.progress".encode()


async def test_a_bare_publisher_reaches_a_bare_client_byte_for_byte(shared_nats: NatsServer) -> None:
    """Both speak the original protocol and nothing else, over sockets of their own."""
    tenant = a_tenant()
    async with spine(shared_nats) as hub, await a_watcher(hub, 9, tenant) as client:
        await client.write(frame(b'{"action":"subscribe","jobId":123}'))
        assert (await client.message())["type"] == "subscribed"
        with BarePublisher(shared_nats.port) as publisher:
            assert publisher.publish(subject(tenant, 123), EVENT)
            assert (await client.message())["snapshot"]["status"] == "unknown"
            assert (await client.text()).startswith(b'{"type":"job.progress","jobId":123,"payload":%b,' % EVENT)
            for payload in (b"not json", b"[]", b'{"status":"dancing"}', b"", b'{"fraction":NaN}', b"\xff"):
                publisher.publish(subject(tenant, 123), payload)
            spaced = b' {"message" : "\\u00e9 \xc3\xa9",\n "extra":[1.50, {}], "nodeId":"load"}\n '
            publisher.publish(subject(tenant, 123), spaced)
        assert (await client.text()).startswith(b'{"type":"job.progress","jobId":123,"payload":%b,' % spaced)


async def test_a_real_job_is_watched_from_its_beginning_to_its_end(shared_nats: NatsServer) -> None:
    """Reported by the library, in another thread, as in a job program."""
    tenant = a_tenant()

    def job() -> None:
        with Reporter(nats_url=shared_nats.url, tenant=tenant, job="load-42") as reporter:
            with reporter.node(1, "DB Input", total=1_000) as node:
                for _ in range(10):
                    node.advance(100)
            reporter.log("all rows are in")

    async with (
        spine(shared_nats) as hub,
        await a_watcher(hub, "load-42", tenant) as client,
        await a_watcher(hub, "*", tenant) as overview,
    ):
        running = threading.Thread(target=job)
        running.start()
        events: list[dict[str, Any]] = []
        while not events or (events[-1].get("kind"), events[-1].get("status")) != ("job", "completed"):
            events.append((await client.until("job.progress"))["payload"])
        running.join()
        node = [event for event in events if event.get("nodeId") == 1]
        assert (node[0]["rowCount"], node[-1]["rowCount"], node[-1]["status"]) == (0, 1_000, "completed")
        assert [event["message"] for event in events if event.get("kind") == "log"] == ["all rows are in"]
        while (summary := await overview.until("job.summary"))["status"] != "completed":
            pass
        assert summary["jobId"] == "load-42"


async def test_tenants_stay_apart_on_one_nats(shared_nats: NatsServer) -> None:
    """The same job ids, events of both in turn; each client receives its own tenant's, all of them."""
    ours, theirs = a_tenant(), a_tenant()
    async with (
        spine(shared_nats) as hub,
        await a_watcher(hub, 1, ours) as client,
        await a_watcher(hub, 1, theirs) as other,
    ):
        with BarePublisher(shared_nats.port) as publisher:
            for number in range(100):
                for tenant in (ours, theirs):
                    payload = json.dumps({"message": f"{tenant} {number}"}).encode()
                    publisher.publish(subject(tenant, 1), payload)
        for tenant, watching in ((ours, client), (theirs, other)):
            got = [(await watching.message())["payload"]["message"] for _ in range(100)]
            assert got == [f"{tenant} {number}" for number in range(100)]


async def test_an_event_published_after_subscribed_is_never_missed(shared_nats: NatsServer) -> None:
    """Also the very first client of a tenant, for whom the subscription in NATS is new."""
    async with spine(shared_nats) as hub:
        with BarePublisher(shared_nats.port) as publisher:
            for _ in range(30):
                tenant = a_tenant()
                async with await a_watcher(hub, 1, tenant) as client:
                    publisher.publish(subject(tenant, 1), EVENT)
                    assert (await client.message())["type"] == "job.progress"


async def test_nats_goes_and_comes_and_everybody_is_told(nats_server: NatsServer) -> None:
    """Clients stay connected; readiness says what is wrong, and is right again by itself."""
    async with (
        spine(nats_server) as hub,
        watchers(hub, 5, 1) as clients,
        httpx.AsyncClient(base_url=hub.url, trust_env=False) as http,
    ):
        for life in range(2):
            nats_server.kill()
            for client in clients:
                assert await client.message() == {"type": "upstream", "status": "down"}
            response = await http.get("/readyz")
            assert (response.status_code, response.json()["upstream"]) == (503, "down")
            assert "NATS" in response.json()["reason"]
            newcomer = await a_client(hub)
            await newcomer.send({"action": "subscribe", "jobId": 1})
            assert (await newcomer.message())["upstream"] == "down"
            nats_server.start()
            for client in clients:
                assert await client.message() == {"type": "upstream", "status": "up"}
            # what is stored and what is live come over connections of their own
            told = {(await newcomer.message())["type"]}
            while not told >= {"upstream", "job.snapshot"}:
                told.add((await newcomer.message())["type"])
            assert (await http.get("/readyz")).status_code == 200
            with BarePublisher(nats_server.port) as publisher:
                publisher.publish(b"tenant.acme.job.1.progress", b'{"message":"life %d"}' % life)
            for client in [newcomer, *clients]:
                assert (await client.until("job.progress"))["payload"] == {"message": f"life {life}"}
            newcomer.close()


async def test_under_load_nats_is_killed_and_the_stream_goes_on(nats_server: NatsServer) -> None:
    """A job reports without pause while nats-server is SIGKILLed and restarted: the job never notices, no client is
    disconnected, and each receives everything, once and in order.
    """
    stop = threading.Event()
    stumbles: list[BaseException] = []

    def job() -> None:
        try:
            with Reporter(nats_url=nats_server.url, tenant="acme", job="endless") as reporter:
                number = 0
                while not stop.wait(0.002):
                    reporter.log(str(number))
                    number += 1
        except BaseException as error:  # whatever it is, the job has noticed
            stumbles.append(error)

    async with spine(nats_server) as hub, watchers(hub, 20, "endless") as clients:
        latest = [-1] * len(clients)
        following = [asyncio.create_task(follow(client, latest, place)) for place, client in enumerate(clients)]
        running = threading.Thread(target=job)
        running.start()
        try:
            for _ in range(2):
                before = max(latest)
                await eventually_async(lambda seen=before: min(latest) > seen + 50)  # type: ignore[misc]
                nats_server.kill()
                await eventually_async(lambda: not hub.up)
                nats_server.start()
                await eventually_async(lambda: hub.up)
            before = max(latest)
            await eventually_async(lambda: min(latest) > before + 50)
        finally:
            stop.set()
            await asyncio.to_thread(running.join)
            for task in following:
                task.cancel()
            ends = await asyncio.gather(*following, return_exceptions=True)
        assert [end for end in ends if not isinstance(end, asyncio.CancelledError)] == []
        assert stumbles == []
        assert hub.closes == {}
        assert len(hub.clients) == len(clients)


async def follow(client: RawClient, latest: list[int], place: int) -> None:
    """Every log line must be the one after the one before."""
    while True:
        message = await client.message()
        if message["type"] == "job.progress" and message["payload"].get("kind") == "log":
            number = int(message["payload"]["message"])
            assert number == latest[place] + 1
            latest[place] = number


async def test_leaving_under_load_leaves_nothing(shared_nats: NatsServer) -> None:
    """Clients, a publisher at full speed, and the hub and bridge go down in the middle of it."""
    tenant = a_tenant()
    stop = threading.Event()

    def publish() -> None:
        with BarePublisher(shared_nats.port) as publisher:
            while not stop.is_set():
                publisher.publish(subject(tenant, 1), EVENT)

    publishing = threading.Thread(target=publish)
    before = asyncio.all_tasks()
    try:
        async with spine(shared_nats, write_wait=0.5) as hub:
            clients = [await a_watcher(hub, 1, tenant) for _ in range(20)]
            publishing.start()
            for client in clients:
                assert (await client.message())["type"] == "job.progress"
    finally:
        stop.set()
        await asyncio.to_thread(publishing.join)
    for client in clients:
        assert (await client.closed()).code == 4001
        client.close()
    await eventually_async(lambda: asyncio.all_tasks() == before)


async def test_a_job_submitted_over_http_runs_on_a_worker_is_watched_and_cancelled(shared_nats: NatsServer) -> None:
    """HTTP, queue, worker, log, WebSocket and back: the job hears of its cancelling, and its watcher of its end."""
    tenant = a_tenant()
    registry = Registry()

    @registry.job(f"wait-{tenant}")
    async def wait(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401 - any JSON
        progress(0.5, f"given {payload}")
        await cancel
        cancel.raise_if_requested()

    worker = Worker(shared_nats.url, WorkerSettings(executor="async"), registry=registry)
    async with (
        spine(shared_nats) as hub,
        Jobs(shared_nats.url) as jobs,
        worker,
        httpx.AsyncClient(base_url=hub.url, trust_env=False) as http,
    ):
        hub.employ(Desk(jobs))
        hub.signer = Signer(SECRET)
        await asyncio.gather(jobs.ready(), worker.ready())
        mine = {"Authorization": f"Bearer {issue(SECRET, tenant, scopes=['submit', 'cancel'])}"}
        answer = await http.post("/api/jobs", json={"name": f"wait-{tenant}", "payload": 7}, headers=mine)
        assert answer.status_code == 201, answer.text
        job = answer.json()["jobId"]
        async with await RawClient.connect(hub.port, answer.json()["token"]) as client:
            await client.send({"action": "subscribe", "jobId": job})
            while (await told(client)).get("message") != "given 7":
                pass
            gone = await http.delete(f"/api/jobs/{job}", headers=mine)
            assert (gone.status_code, gone.json()["status"]) == (202, "cancelling")
            statuses = []
            while "cancelled" not in statuses:
                statuses.append((await told(client)).get("status"))
            assert statuses[-2:] == ["cancelling", "cancelled"]
        assert (await http.delete(f"/api/jobs/{job}", headers=mine)).status_code == 409
        assert (await jobs.store(tenant).get(job)).status == "cancelled"
        assert worker.counts["cancelled"] == 1


async def told(client: RawClient) -> dict[str, Any]:
    """What the next message says of the job, be it a snapshot or an event."""
    message = await client.message()
    fields: dict[str, Any] = message.get("snapshot") or message.get("payload") or {}
    return fields
