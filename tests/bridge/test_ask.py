"""Requests to a job's own program: over a real nats-server, from the hub's `DELETE` to a job that answers."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import httpx
import nats
import pytest
from milepost_bridge import Bridge, BridgeSettings
from milepost_hub import Hub, HubSettings, KeySource, Verifier, issue
from milepost_hub.errors import JobSilent, UpstreamDown
from nats.aio.client import Client
from nats.aio.msg import Msg

from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.bridge.recording_sink import RecordingSink
from tests.waiting import eventually_async

SECRET = "a secret of the tests, long enough for HS256"
CANCEL = b'{"action":"cancel"}'
QUICK = {"ping_interval": 0.2, "connect_timeout": 0.5, "reconnect_wait": 0.05}


def a_tenant() -> str:
    return f"t{uuid.uuid4().hex[:12]}"


@contextlib.asynccontextmanager
async def bridge_on(server: NatsServer, **settings: object) -> AsyncIterator[Bridge]:
    figures = BridgeSettings.model_validate({**QUICK, **settings})
    async with Bridge(server.url, RecordingSink(), settings=figures) as bridge:
        await eventually_async(lambda: bridge.up)
        yield bridge


@contextlib.asynccontextmanager
async def a_program(server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def listening(client: Client, tenant: str, answer: bytes) -> AsyncIterator[list[Msg]]:
    """A job's program that answers every request so; what it was asked."""
    heard: list[Msg] = []

    async def respond(request: Msg) -> None:
        heard.append(request)
        await request.respond(answer)

    subscription = await client.subscribe(f"tenant.{tenant}.job.7.control", cb=respond)
    await client.flush()
    yield heard
    await subscription.unsubscribe()


@pytest.mark.parametrize("log", [True, False])
async def test_a_programs_answer_comes_back_as_it_is(shared_nats: NatsServer, log: bool) -> None:
    """Also one that JetStream's own answers look like, and with or without a log."""
    async with bridge_on(shared_nats, log=log) as bridge, a_program(shared_nats) as program:
        for answer in (b'{"ok":true}', b'{"error":"no"}', b'{"error":{"code":503}}', b"", b"\xff"):
            tenant = a_tenant()
            async with listening(program, tenant, answer) as heard:
                assert await bridge.ask(tenant, "7", CANCEL) == answer
            assert [message.data for message in heard] == [CANCEL]


async def test_nobody_there_is_told_after_a_second_try(shared_nats: NatsServer) -> None:
    async with bridge_on(shared_nats) as bridge:
        with pytest.raises(JobSilent, match="nobody listens"):
            await bridge.ask(a_tenant(), "7", CANCEL)


async def test_a_program_that_begins_to_listen_meanwhile_is_reached(shared_nats: NatsServer) -> None:
    """The first try finds nobody, as right after a reconnect; it is the second that counts."""
    tenant = a_tenant()
    async with bridge_on(shared_nats) as bridge, a_program(shared_nats) as program:
        api = bridge._log.api
        before = repr(api._numbers)
        asking = asyncio.create_task(bridge.ask(tenant, "7", CANCEL))
        await eventually_async(lambda: repr(api._numbers) != before and not api._calls)
        async with listening(program, tenant, b'{"ok":true}'):
            assert await asking == b'{"ok":true}'


async def test_a_program_that_does_not_answer_is_given_up(shared_nats: NatsServer) -> None:
    tenant = a_tenant()
    async with bridge_on(shared_nats, control_timeout=0.2) as bridge, a_program(shared_nats) as program:
        await program.subscribe(f"tenant.{tenant}.job.7.control")
        await program.flush()
        with pytest.raises(JobSilent, match="does not answer"):
            await bridge.ask(tenant, "7", CANCEL)


async def test_a_program_that_answers_with_a_status_gains_nothing(shared_nats: NatsServer) -> None:
    """It may pass for a server that knows of nobody, or for one that refuses; the connection stays."""
    async with bridge_on(shared_nats) as bridge, a_program(shared_nats) as program:
        for status in (b"503", b"400", b"100 Idle Heartbeat"):
            tenant = a_tenant()

            async def respond(request: Msg, head: bytes = b"NATS/1.0 " + status + b"\r\n\r\n") -> None:
                with BarePublisher(shared_nats.port) as publisher:
                    publisher.publish(request.reply.encode(), b"", head)

            await program.subscribe(f"tenant.{tenant}.job.7.control", cb=respond)
            await program.flush()
            with pytest.raises(JobSilent):
                await bridge.ask(tenant, "7", CANCEL)
        assert bridge.connections == 1


async def test_while_nats_is_away_nobody_can_be_asked(nats_server: NatsServer) -> None:
    """Nor when it goes while an answer is waited for."""
    tenant = a_tenant()
    async with bridge_on(nats_server) as bridge:
        async with a_program(nats_server) as program:
            await program.subscribe(f"tenant.{tenant}.job.7.control")
            await program.flush()
            asking = asyncio.create_task(bridge.ask(tenant, "7", CANCEL))
            await eventually_async(lambda: bridge._log.api._calls)
        nats_server.kill()
        with pytest.raises(UpstreamDown):
            await asking
        await eventually_async(lambda: not bridge.up)
        with pytest.raises(UpstreamDown):
            await bridge.ask(tenant, "7", CANCEL)


@pytest.mark.parametrize(("tenant", "job"), [("a.b", "7"), ("*", "7"), ("acme", "a.b"), ("acme", ">"), ("acme", "")])
async def test_no_name_reaches_beyond_its_token_of_the_subject(shared_nats: NatsServer, tenant: str, job: str) -> None:
    async with bridge_on(shared_nats) as bridge:
        with pytest.raises((JobSilent, ValueError)):
            await bridge.ask(tenant, job, CANCEL)


async def test_a_bridge_of_one_tenant_asks_no_other(shared_nats: NatsServer) -> None:
    async with Bridge(shared_nats.url, RecordingSink(), "acme", BridgeSettings.model_validate(QUICK)) as bridge:
        await eventually_async(lambda: bridge.up)
        with pytest.raises(JobSilent, match="tenant"):
            await bridge.ask("globex", "7", CANCEL)


async def test_delete_reaches_the_jobs_program_and_its_own_alone(shared_nats: NatsServer) -> None:
    """The whole way: HTTP, hub, bridge, NATS; a program of the same job id under another tenant hears nothing."""
    mine, theirs = a_tenant(), a_tenant()
    async with (
        KeySource(secrets=[SECRET]) as keys,
        Hub(HubSettings(port=0, drain_seconds=0), Verifier(keys)) as hub,
        Bridge(shared_nats.url, hub, settings=BridgeSettings.model_validate(QUICK)) as bridge,
        a_program(shared_nats) as program,
        listening(program, mine, b'{"ok":true}') as heard,
        listening(program, theirs, b'{"ok":true}') as heard_there,
    ):
        await eventually_async(lambda: bridge.up)
        token = issue(SECRET, mine, scopes=["cancel"])
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False, headers=headers) as http:
            assert (await http.delete("/api/jobs/7")).status_code == 404
            with BarePublisher(shared_nats.port) as publisher:
                publisher.publish(f"tenant.{mine}.job.7.progress".encode(), b'{"status":"running"}')
                response = await http.delete("/api/jobs/7")
                assert (response.status_code, response.json()) == (202, {"jobId": 7, "status": "cancelling"})
                publisher.publish(f"tenant.{mine}.job.7.progress".encode(), b'{"status":"cancelled"}')
            assert (await http.delete("/api/jobs/7")).status_code == 409
        assert [message.data for message in heard] == [CANCEL]
        assert heard_there == []
