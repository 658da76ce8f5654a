"""The bridge on a real nats-server: interest in, deliveries out, whatever happens to either side."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import AsyncIterator

import nats
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from milepost_bridge.bridge import Bridge
from milepost_bridge.settings import BridgeSettings
from milepost_hub.event import Event
from milepost_hub.upstream import Interest

from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.bridge.recording_sink import Delivery, RecordingSink
from tests.waiting import eventually_async

ORIGINAL = b"""\
{"nodeId": 1, "nodeName": "DB Input", "status": "running", "rowCount": 5000, "message": "Processing rows..."}
"""
# live only: what the log adds is shown in test_log
IMPATIENT: dict[str, float] = {
    "ping_interval": 0.2,
    "connect_timeout": 0.5,
    "reconnect_wait": 0.05,
    "reconnect_wait_max": 0.2,
    "log": False,
}


def a_tenant() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@contextlib.asynccontextmanager
async def bridged(
    server: NatsServer, sink: RecordingSink, tenant: str | None = None, **figures: float
) -> AsyncIterator[Bridge]:
    chosen = BridgeSettings.model_validate(IMPATIENT | figures)
    async with Bridge(server.url, sink, tenant, chosen) as bridge:
        await eventually_async(lambda: bridge.up)
        yield bridge


async def watch(bridge: Bridge, tenant: str, interest: Interest = Interest.EVENTS) -> None:
    waiting = bridge.interest(tenant, interest)
    if waiting is not None:
        await waiting


async def test_the_original_payload_of_a_bare_socket_arrives_byte_for_byte(shared_nats: NatsServer) -> None:
    """A program that knows nothing of us but the subject and the payload."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink) as bridge:
        await watch(bridge, tenant)
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(f"tenant.{tenant}.job.123.progress".encode(), ORIGINAL)
        await eventually_async(lambda: sink.deliveries)
    assert sink.deliveries == [Delivery(tenant, "123", ORIGINAL, "1")]


async def test_only_wanted_jobs_of_watched_tenants_arrive(shared_nats: NatsServer) -> None:
    """A job nobody watches costs nothing, a tenant nobody watches is not even subscribed."""
    tenant, other = a_tenant(), a_tenant()
    sink = RecordingSink((tenant, "1"), (other, "1"))
    async with bridged(shared_nats, sink) as bridge:
        await watch(bridge, tenant)
        with BarePublisher(shared_nats.port) as publisher:
            for subject in (f"tenant.{other}.job.1", f"tenant.{tenant}.job.2", f"tenant.{tenant}.job.1"):
                publisher.publish(f"{subject}.progress".encode(), ORIGINAL)
        await eventually_async(lambda: sink.deliveries)
        assert [(delivery.tenant, delivery.job) for delivery in sink.deliveries] == [(tenant, "1")]
        assert bridge.counts["received"] == 2
        assert bridge.counts["passed"] == 1


async def test_a_bridge_of_one_tenant_serves_no_other(shared_nats: NatsServer) -> None:
    """`tenant=` is a wall: what the hub asks for beyond it is not subscribed."""
    mine, theirs, sink = a_tenant(), a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink, mine) as bridge:
        await watch(bridge, theirs)
        await watch(bridge, mine)
        with BarePublisher(shared_nats.port) as publisher:
            for tenant in (theirs, mine):
                publisher.publish(f"tenant.{tenant}.job.1.progress".encode(), ORIGINAL)
        await eventually_async(lambda: sink.deliveries)
        assert bridge.counts["received"] == 1
    assert [delivery.tenant for delivery in sink.deliveries] == [mine]


@pytest.mark.parametrize("tenant", ["*", ">", "", "a.b", "a b", "é", "a" * 65])
async def test_interest_in_what_is_no_tenant_is_not_subscribed(shared_nats: NatsServer, tenant: str) -> None:
    """A wildcard in place of a tenant would be everybody."""
    sink, real = RecordingSink(), a_tenant()
    async with bridged(shared_nats, sink) as bridge:
        assert bridge.interest(tenant, Interest.SUMMARIES) is None
        await watch(bridge, real)
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(f"tenant.{a_tenant()}.job.1.progress".encode(), ORIGINAL)
            publisher.publish(f"tenant.{real}.job.1.progress".encode(), ORIGINAL)
        await eventually_async(lambda: sink.deliveries)
        assert bridge.counts["received"] == 1
    with pytest.raises(ValueError, match="tenant"):
        Bridge(shared_nats.url, sink, tenant, BridgeSettings(log=False))


async def test_ends_stay_behind_the_progress_before_them(shared_nats: NatsServer) -> None:
    """Order within a job holds over both of its subjects."""
    tenant, sink = a_tenant(), RecordingSink()
    end = b'{"kind":"job","status":"completed"}'
    async with bridged(shared_nats, sink) as bridge:
        await watch(bridge, tenant)
        client = await nats.connect(shared_nats.url)
        for run in range(1, 51):
            opening = b'{"kind":"job","status":"running","run":%d}' % run
            await client.publish(f"tenant.{tenant}.job.1.progress", opening)
            for _ in range(5):
                await client.publish(f"tenant.{tenant}.job.1.progress", ORIGINAL)
            await client.publish(f"tenant.{tenant}.job.1.end.{run}", end)
            await client.publish(f"tenant.{tenant}.job.1.progress", ORIGINAL)
        await client.close()
        await eventually_async(lambda: bridge.counts["received"] == 50 * 8)
        assert bridge.counts["late"] == 50
    kinds = [delivery.key for delivery in sink.deliveries]
    assert kinds == [None, *["1"] * 5, None] * 50


async def test_falling_interest_lags_so_that_a_reload_misses_nothing(shared_nats: NatsServer) -> None:
    """Between the last client's leaving and its return the tenant stays subscribed."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink, linger=60) as bridge:
        await watch(bridge, tenant)
        bridge.interest(tenant, Interest.NONE)
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(f"tenant.{tenant}.job.1.progress".encode(), ORIGINAL)
        await eventually_async(lambda: sink.deliveries)
        assert bridge.interest(tenant, Interest.EVENTS) is None


async def test_a_tenant_nobody_watches_is_unsubscribed(shared_nats: NatsServer) -> None:
    """After the lag nothing of it reaches this process; watching it again brings it back."""
    gone, stays, sink = a_tenant(), a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink, linger=0) as bridge:
        await watch(bridge, gone)
        await watch(bridge, stays)
        bridge.interest(gone, Interest.NONE)
        with BarePublisher(shared_nats.port) as publisher:
            for rounds in range(1, 1000):
                publisher.publish(f"tenant.{gone}.job.1.progress".encode(), ORIGINAL)
                publisher.publish(f"tenant.{stays}.job.1.progress".encode(), ORIGINAL)
                await sink.has(stays, rounds)
                if len(sink.payloads(gone)) < rounds:
                    break
            assert bridge.counts["received"] < 2 * rounds
            before = len(sink.payloads(gone))
            await watch(bridge, gone)
            publisher.publish(f"tenant.{gone}.job.1.progress".encode(), ORIGINAL)
            await sink.has(gone, before + 1)


async def test_summaries_come_for_every_job_at_a_bounded_rate(shared_nats: NatsServer) -> None:
    """A burst of 200 events is two summaries, the last with all of it, for jobs nobody watches too."""
    tenant = a_tenant()
    sink = RecordingSink((tenant, "none"))
    async with bridged(shared_nats, sink) as bridge:
        await watch(bridge, tenant, Interest.SUMMARIES)
        client = await nats.connect(shared_nats.url)
        for number in range(1, 201):
            payload = json.dumps({"fraction": number / 200}).encode()
            await client.publish(f"tenant.{tenant}.job.42.progress", payload)
        await client.close()
        await eventually_async(lambda: len(sink.summaries) == 2)
        assert bridge.counts["taken"] == 200
    assert [(at, job, summary["jobId"]) for at, job, summary in sink.summaries] == [(tenant, "42", 42)] * 2
    assert [summary["fraction"] for _, _, summary in sink.summaries] == [1 / 200, 1.0]
    assert sink.deliveries == []


async def test_a_silent_job_is_summed_up_as_stalled(shared_nats: NatsServer) -> None:
    """Without another event the tenant's watchers are told."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink, stalled_after=0.2, summary_interval=0.05) as bridge:
        await watch(bridge, tenant, Interest.SUMMARIES)
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(f"tenant.{tenant}.job.1.progress".encode(), ORIGINAL)
        await eventually_async(lambda: len(sink.summaries) == 2)
    assert [summary["stalled"] for _, _, summary in sink.summaries] == [False, True]


async def test_summaries_end_with_the_interest_in_them(shared_nats: NatsServer) -> None:
    """Back at plain events, nothing is reduced any more."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(shared_nats, sink, linger=0) as bridge:
        await watch(bridge, tenant, Interest.SUMMARIES)
        bridge.interest(tenant, Interest.EVENTS)
        with BarePublisher(shared_nats.port) as publisher:
            for rounds in range(1, 1000):
                publisher.publish(f"tenant.{tenant}.job.{rounds}.progress".encode(), ORIGINAL)
                await sink.has(tenant, rounds)
                if len(sink.summaries) < rounds:
                    break
        assert len(sink.summaries) < rounds


async def test_nonsense_of_every_sort_is_counted_and_ends_nothing(shared_nats: NatsServer) -> None:
    """After all of it the next event arrives on the same connection."""
    tenant, sink = a_tenant(), RecordingSink()
    prefix = f"tenant.{tenant}.job.".encode()
    async with bridged(shared_nats, sink) as bridge:
        await watch(bridge, tenant)
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(prefix + b"1.progress", b"{")
            publisher.publish(prefix + b"1.progress", b"[]")
            publisher.publish(prefix + b"1.progress", b"{}")
            publisher.publish(prefix + b"1.progress", b'{"nodeId":1,"status":"asleep"}')
            publisher.publish(prefix + b"1.progress", b'{"message":7}')
            publisher.publish(prefix + b"1.progress", b'{"message":"%b"}' % (b"x" * 65_536))
            publisher.publish(prefix + b"1.end.1", ORIGINAL)
            publisher.publish(prefix + b"1.end.x", ORIGINAL)
            publisher.publish(prefix + b"\xff.progress", ORIGINAL)
            publisher.publish(prefix + b"a\x0bb.progress", ORIGINAL)
            publisher.publish(prefix + b"1.progress", b"nonsense", b"NATS/1.0")
            publisher.publish(prefix + b"1.progress", ORIGINAL, b"NATS/1.0\r\nMilepost-Count: x\r\n\r\n")
            publisher.publish(prefix + b"1.progress", ORIGINAL, reply=b"\xff")
        await eventually_async(lambda: len(sink.deliveries) == 2)
        assert bridge.connections == 1
        assert {name: count for name, count in bridge.counts.items() if count} == {
            "received": 13,
            "taken": 2,
            "bad_header": 1,
            "invalid_not_json": 2,
            "invalid_not_object": 1,
            "invalid_empty": 1,
            "invalid_bad_status": 1,
            "invalid_bad_field": 1,
            "invalid_too_large": 1,
            "invalid_not_an_end": 1,
            "invalid_subject": 3,
        }


class FailingSink(RecordingSink):
    """Raises for job `bad`, in whatever it is asked."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def deliver(self, tenant: str, job: str, event: Event) -> None:
        if job == "bad":
            raise self._error
        super().deliver(tenant, job, event)

    def deliver_summary(self, tenant: str, job: str, summary: bytes) -> None:
        if job == "bad":
            raise self._error
        super().deliver_summary(tenant, job, summary)

    def upstream_changed(self) -> None:
        raise self._error


@pytest.mark.parametrize("error", [RuntimeError("mishap"), asyncio.CancelledError()], ids=["error", "cancel"])
async def test_a_hub_that_fails_does_not_end_the_stream(
    shared_nats: NatsServer, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Its mishap is counted and logged, and the next event is delivered."""
    tenant, sink = a_tenant(), FailingSink(error)
    async with bridged(shared_nats, sink) as bridge:
        await watch(bridge, tenant, Interest.SUMMARIES)
        with BarePublisher(shared_nats.port) as publisher:
            for _ in range(3):
                publisher.publish(f"tenant.{tenant}.job.bad.progress".encode(), ORIGINAL)
                publisher.publish(f"tenant.{tenant}.job.good.progress".encode(), ORIGINAL)
        await eventually_async(lambda: len(sink.deliveries) == 3 and len(sink.summaries) == 2)
        assert bridge.counts["failed"] >= 3
        assert bridge.connections == 1
    assert "Traceback" in caplog.text


async def test_a_kill_under_load_is_told_and_the_stream_goes_on(nats_server: NatsServer) -> None:
    """What is published while the bridge is up arrives in order; the hub hears down and up."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(nats_server, sink) as bridge:
        await watch(bridge, tenant)
        load = asyncio.ensure_future(publish_for_ever(nats_server.url, tenant))
        for _ in range(2):
            await sink.has(tenant, len(sink.deliveries) + 500)
            nats_server.kill()
            await eventually_async(lambda: not bridge.up)
            nats_server.start()
            await eventually_async(lambda: bridge.up)
        await sink.has(tenant, len(sink.deliveries) + 500)
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
        assert sink.changes == [True, False, True, False, True]
        numbers = [json.loads(payload)["rowCount"] for payload in sink.payloads(tenant)]
        assert numbers == sorted(set(numbers))
    assert sink.changes[-1] is False


async def publish_for_ever(url: str, tenant: str) -> None:
    async def ignore(_: Exception) -> None: ...

    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.05, error_cb=ignore)
    number = 0
    try:
        while True:
            for _ in range(20):
                number += 1
                payload = b'{"nodeId":1,"status":"running","rowCount":%d}' % number
                with contextlib.suppress(nats.errors.Error):
                    await client.publish(f"tenant.{tenant}.job.1.progress", payload)
            await asyncio.sleep(0.002)
    finally:
        await client.close()


async def test_a_hanging_server_is_told_and_the_stream_goes_on(nats_server: NatsServer) -> None:
    """SIGSTOP and SIGCONT of nats-server: down, up, events."""
    tenant, sink = a_tenant(), RecordingSink()
    async with bridged(nats_server, sink) as bridge:
        await watch(bridge, tenant)
        nats_server.pause()
        await eventually_async(lambda: sink.changes == [True, False])
        nats_server.resume()
        await eventually_async(lambda: sink.changes == [True, False, True])
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(f"tenant.{tenant}.job.1.progress".encode(), ORIGINAL)
        await eventually_async(lambda: sink.deliveries)


async def test_without_nats_it_starts_and_waits(nats_server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Entering does not block; one line tells of it; interest heard meanwhile is kept."""
    caplog.set_level(logging.WARNING, "milepost_bridge")
    nats_server.kill()
    tenant, sink = a_tenant(), RecordingSink()
    async with Bridge(nats_server.url, sink, settings=BridgeSettings.model_validate(IMPATIENT)) as bridge:
        assert not bridge.up
        assert bridge.log is not None  # whether there is one is not known yet
        waiting = bridge.interest(tenant, Interest.EVENTS)
        assert waiting is not None
        await waiting
        await eventually_async(lambda: caplog.records)
        nats_server.start()
        await eventually_async(lambda: bridge.up)
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(f"tenant.{tenant}.job.1.progress".encode(), ORIGINAL)
        await eventually_async(lambda: sink.deliveries)
    assert bridge.interest(tenant, Interest.EVENTS) is None
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records) <= 4


VICTIM, ATTACKER = "victim", "attacker"
tokens = st.binary(min_size=1, max_size=12).filter(lambda token: not set(token) & set(b" \t\r\n.\0"))
tails = st.lists(
    tokens | st.sampled_from([b"1", b"progress", b"end", b"tenant", b"victim", b"job", b"*", b">"]),
    min_size=1,
    max_size=6,
).map(b".".join)
hostile_payloads = st.binary(max_size=60) | st.sampled_from(
    [ORIGINAL, b'{"tenant":"victim","jobId":1,"subject":"tenant.victim.job.1.progress","message":"m"}']
)
hostile_headers = st.none() | st.binary(max_size=60).map(lambda rest: b"NATS/1.0\r\n" + rest + b"\r\n\r\n")
forged = st.sampled_from(
    [
        b"NATS/1.0\r\nNats-Subject: tenant.victim.job.1.progress\r\nMilepost-Tenant: victim\r\n\r\n",
        b"NATS/1.0 503\r\nNats-Stream: victim\r\n\r\n",
    ]
)


def test_walls_hold_whatever_a_tenant_publishes(shared_nats: NatsServer) -> None:
    """No subject, payload, header or reply of one tenant's is delivered to another, or ends the stream."""
    sink = RecordingSink()
    marker = b'{"message":"marker"}'
    with asyncio.Runner() as runner, BarePublisher(shared_nats.port) as publisher:
        stack = contextlib.AsyncExitStack()

        async def enter() -> Bridge:
            bridge = await stack.enter_async_context(bridged(shared_nats, sink))
            await watch(bridge, VICTIM, Interest.SUMMARIES)
            await watch(bridge, ATTACKER, Interest.SUMMARIES)
            return bridge

        bridge = runner.run(enter())

        @settings(max_examples=150, deadline=None)
        @given(tails, hostile_payloads, hostile_headers | forged, st.just(b"") | tokens)
        def attack(tail: bytes, payload: bytes, headers: bytes | None, reply: bytes) -> None:
            sink.deliveries.clear()
            sink.summaries.clear()
            publisher.publish(b"tenant.attacker.job." + tail, payload, headers, reply)
            publisher.publish(b"tenant.victim.job.1.progress", marker)
            runner.run(eventually_async(lambda: sink.payloads(VICTIM)))
            assert [delivery for delivery in sink.deliveries if delivery.tenant != ATTACKER] == [
                Delivery(VICTIM, "1", marker, "")
            ]
            others = [summary[:2] for summary in sink.summaries if summary[0] != ATTACKER]
            assert set(others) <= {(VICTIM, "1")}

        try:
            attack()
            assert bridge.connections == 1
        finally:
            runner.run(stack.aclose())
