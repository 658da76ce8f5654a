"""Tokens on live connections, limits, and what clients hear of the hub's source."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from milepost_hub.close import CloseCode
from milepost_hub.hub import Hub
from milepost_hub.keys import KeySource
from milepost_hub.settings import HubSettings
from milepost_hub.token import Verifier, issue
from milepost_hub.upstream import Interest

from tests.hub.jwks_server import JwksServer
from tests.hub.live_hub import EVENT, LiveHub, Source, a_client, a_watcher, an_event, live_hub
from tests.hub.memory_log import MemoryLog
from tests.hub.raw_client import RawClient, frame, upgrade
from tests.hub.signers import OTHER_SECRET, SECRET, Signer, claims, ec_signer, ed_signer, key_set, rsa_signer
from tests.waiting import eventually_async

OLD, NEW = ec_signer("2023"), ed_signer("2024")


def signed(secret: str = SECRET, **changes: object) -> str:
    return jwt.encode(claims(**changes), secret, "HS256")


def unsigned() -> str:
    """A token that says of itself that it needs no signature."""
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none", "typ": "JWT"}, claims())
    )
    return f"{head}.{body}."


def forged() -> str:
    """A good token with another tenant written into it."""
    head, _, signature = signed().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(tenant="globex")).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


# -- tokens -----------------------------------------------------------------------------------------------------------

REFUSED = [
    ("expired", signed(exp=time.time() - 5), "token_expired"),
    ("forged", forged(), "bad_signature"),
    ("alg none", unsigned(), "bad_algorithm"),
    ("wrong secret", signed(OTHER_SECRET), "bad_signature"),
    ("wrong key", rsa_signer().token(), "bad_algorithm"),
    ("wrong audience", signed(aud="another hub"), "bad_audience"),
    ("no audience", signed(), "bad_audience"),
    ("no expiry", signed(aud="this hub", exp=None), "bad_claim"),
    ("a tenant with a wildcard", signed(aud="this hub", tenant="*"), "bad_claim"),
    ("no token at all", "rubbish", "token_malformed"),
]


@pytest.mark.parametrize("way", ["url", "header", "message"])
async def test_a_bad_token_is_told_why_and_closed(way: str) -> None:
    """In words, because a page cannot read a refused handshake; and with the code that means: do not come back."""
    async with (
        KeySource(secrets=[SECRET]) as keys,
        live_hub(verifier=Verifier(keys, audience="this hub")) as hub,
    ):
        for what, token, code in REFUSED:
            url_token = token if way == "url" else None
            headers = {"Authorization": f"Bearer {token}" if way == "header" else None}
            async with await RawClient.connect(hub.port, url_token, headers) as client:
                if way == "message":
                    await client.send({"action": "auth", "token": token, "id": 1})
                told = await client.message()
                assert (told["type"], told["code"]) == ("error", code), what
                assert token not in json.dumps(told)
                assert (await client.closed()).code == 4500, what
        await hub.emptied()
        assert hub.closes == {CloseCode.BAD_TOKEN: len(REFUSED)}


async def test_a_token_is_refreshed_in_place() -> None:
    """The connection and its subscriptions outlive the first token."""
    async with live_hub(token_notice=0.7) as hub:
        first = signed(exp=time.time() + 1.2)
        async with await RawClient.connect(hub.port, first) as client:
            await client.subscribe(1)
            expiring = await client.until("token.expiring")
            assert expiring["expiresAt"].endswith("Z")
            await client.send({"action": "auth", "token": signed(), "id": "again"})
            renewed = await client.until("authenticated")
            assert (renewed["id"], renewed["expiresAt"] > expiring["expiresAt"]) == ("again", True)
            hub.deliver("acme", "1", an_event(EVENT))
            assert (await client.message())["type"] == "job.progress"


async def test_an_expired_token_ends_the_connection() -> None:
    async with live_hub() as hub, await RawClient.connect(hub.port, signed(exp=time.time() + 0.6)) as client:
        assert (await client.message())["type"] == "token.expiring"
        assert (await client.closed()).code == 4003


async def test_a_bad_refresh_is_told_and_the_first_token_stays() -> None:
    async with live_hub() as hub, await a_watcher(hub, 1) as client:
        await client.send({"action": "auth", "token": forged(), "id": 5})
        assert (await client.message()).items() >= {"code": "bad_signature", "id": 5}.items()
        hub.deliver("acme", "1", an_event(EVENT))
        assert (await client.message())["type"] == "job.progress"


async def test_a_refresh_cannot_change_the_tenant() -> None:
    async with live_hub() as hub, await a_watcher(hub, 1) as client:
        await client.send({"action": "auth", "token": issue(SECRET, "globex"), "id": 5})
        assert (await client.message()).items() >= {"code": "forbidden", "id": 5}.items()
        assert (await client.closed()).code == 4501


async def test_revoked_clients_are_closed() -> None:
    async with live_hub() as hub, await a_client(hub, sub="ann") as ann, await a_client(hub, sub="bob") as bob:
        await hub.client_of("bob")
        await hub.client_of("ann")
        assert hub.revoke("acme", "ann") == 1
        assert (await ann.closed()).code == 4004
        assert (await bob.subscribe(1))["type"] == "subscribed"


# -- keys that are being fetched --------------------------------------------------------------------------------------


@pytest.fixture
def key_server() -> Iterator[JwksServer]:
    with JwksServer(key_set(OLD)) as server:
        yield server


async def test_what_is_sent_while_keys_are_fetched_is_answered_in_order(key_server: JwksServer) -> None:
    """The key set was rotated, and the client says all it has to say before the new one is there."""
    async with (
        KeySource(jwks_urls=[key_server.url], cooldown=0) as keys,
        live_hub(verifier=Verifier(keys), auth_wait=0.2) as hub,
        await RawClient.open(hub.port) as client,
    ):
        key_server.body = key_set(NEW)
        key_server.gate.clear()
        key_server.asked.clear()
        actions = [{"action": "subscribe", "jobId": number, "id": number} for number in range(20)]
        frames = [frame(json.dumps(action).encode()) for action in actions]
        started = time.monotonic()
        await client.write(upgrade(f"/ws?token={NEW.token()}") + b"".join(frames[:10]))
        await client.response()
        await client.write(b"".join(frames[10:]))
        await eventually_async(key_server.asked.is_set)
        # Longer than a client without a token may take: this one has sent its token.
        await eventually_async(lambda: time.monotonic() > started + 0.5)
        key_server.gate.set()
        assert [(await client.until("subscribed"))["id"] for _ in actions] == list(range(20))
        for number in range(20):
            hub.deliver("acme", str(number), an_event(EVENT))
            assert (await client.until("job.progress"))["jobId"] == number


async def test_a_rotated_key_file_is_read_again_for_a_client(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(OLD))
    async with (
        KeySource(jwks_files=[path], file_lifetime=3600, file_cooldown=0) as keys,
        live_hub(verifier=Verifier(keys)) as hub,
    ):
        path.write_bytes(key_set(NEW))
        async with await RawClient.connect(hub.port, NEW.token()) as client:
            assert (await client.subscribe(1))["type"] == "subscribed"
        stranger = Signer(ec_signer("stranger").private, "ES256", "2024")
        async with await RawClient.connect(hub.port, stranger.token()) as client:
            assert (await client.message())["type"] == "error"
            assert (await client.closed()).code in {4001, 4500}


async def test_a_refresh_whose_keys_are_fetched_keeps_the_order(key_server: JwksServer) -> None:
    async with (
        KeySource(jwks_urls=[key_server.url], cooldown=0) as keys,
        live_hub(verifier=Verifier(keys)) as hub,
        await RawClient.connect(hub.port, OLD.token()) as client,
    ):
        await client.subscribe(1)
        key_server.body = key_set(OLD, NEW)
        key_server.gate.clear()
        key_server.asked.clear()
        await client.send({"action": "auth", "token": NEW.token(), "id": "a"})
        await client.send({"action": "auth", "token": NEW.token(), "id": "b"})
        await client.send({"action": "unsubscribe", "jobId": 1, "id": "c"})
        await eventually_async(key_server.asked.is_set)
        hub.deliver("acme", "1", an_event(EVENT))  # goes on meanwhile
        assert (await client.message())["type"] == "job.progress"
        key_server.gate.set()
        assert [(await client.message())["id"] for _ in range(3)] == ["a", "b", "c"]


async def test_a_client_that_leaves_while_keys_are_fetched_leaves_nothing(key_server: JwksServer) -> None:
    async with KeySource(jwks_urls=[key_server.url], cooldown=0) as keys, live_hub(verifier=Verifier(keys)) as hub:
        key_server.gate.clear()
        key_server.asked.clear()
        client = await RawClient.connect(hub.port, NEW.token())
        await eventually_async(key_server.asked.is_set)
        client.close()
        key_server.gate.set()
        await hub.emptied()


# -- the source -------------------------------------------------------------------------------------------------------


async def test_interest_follows_the_clients() -> None:
    """Told on every change and only then; the last to leave takes it away."""
    async with live_hub() as hub:
        first, second = await a_watcher(hub, 1), await a_watcher(hub, 2)
        assert hub.source.told == [("acme", Interest.EVENTS)]
        assert (hub.wants("acme", "1"), hub.wants("acme", "3"), hub.wants("globex", "1")) == (True, False, False)
        await second.subscribe("*")
        assert hub.source.told[1:] == [("acme", Interest.SUMMARIES)]
        await second.send({"action": "unsubscribe", "jobId": "*"})
        await second.until("unsubscribed")
        assert hub.source.told[2:] == [("acme", Interest.EVENTS)]
        await second.subscribe("*")
        second.close()
        await eventually_async(lambda: hub.source.told[4:] == [("acme", Interest.EVENTS)])
        first.close()
        await eventually_async(lambda: hub.source.told[5:] == [("acme", Interest.NONE)])
        await hub.emptied()


async def test_subscribed_is_told_once_the_source_has_it() -> None:
    """Not before, because from then on no event is missed; nothing of the job comes ahead of it."""
    async with live_hub() as hub:
        hub.source.pending = asyncio.get_running_loop().create_future()
        async with await a_client(hub) as client:
            await client.send({"action": "subscribe", "jobId": 1})
            await eventually_async(lambda: hub.wants("acme", "1"))
            hub.deliver("acme", "1", an_event(EVENT))
            hub.flush()
            hub.source.pending.set_result(None)
            assert [(await client.message())["type"] for _ in range(2)] == ["subscribed", "job.snapshot"]
            hub.deliver("acme", "1", an_event(EVENT))
            assert (await client.message())["type"] == "job.progress"


async def test_a_client_that_has_left_or_changed_its_mind_is_told_nothing() -> None:
    async with live_hub() as hub:
        hub.source.pending = asyncio.get_running_loop().create_future()
        leaver, changer = await a_client(hub, sub="leaver"), await a_client(hub)
        await leaver.send({"action": "subscribe", "jobId": 1})
        await changer.send({"action": "subscribe", "jobId": 2})
        await changer.send({"action": "unsubscribe", "jobId": 2})
        assert (await changer.message())["type"] == "unsubscribed"
        await hub.client_of("leaver")
        leaver.close()
        await eventually_async(lambda: len(hub.clients) == 1)
        hub.source.pending.set_result(None)
        assert (await changer.subscribe(3))["jobId"] == 3
        changer.close()


async def test_clients_are_told_when_the_source_goes_and_comes() -> None:
    async with live_hub() as hub, await a_client(hub) as client, await RawClient.connect(hub.port) as stranger:
        assert (await client.subscribe(1))["upstream"] == "up"
        for up in (False, True):
            hub.source.up = up
            hub.upstream_changed()
            hub.upstream_changed()  # no news
            status = "up" if up else "down"
            assert await client.message() == {"type": "upstream", "status": status}
            assert (await client.subscribe(1))["upstream"] == status
        # Who has shown no token hears nothing of it.
        await stranger.send({"action": "auth", "token": signed()})
        assert (await stranger.message())["type"] == "authenticated"


async def test_what_a_source_keeps_is_told() -> None:
    async with live_hub(source=Source(up=False, log=MemoryLog())) as hub, await a_client(hub) as client:
        told = await client.subscribe(1)
        assert (told["durable"], told["upstream"]) == (True, "down")


async def test_a_source_that_comes_late_is_told_of_everybody() -> None:
    async with live_hub() as hub, await a_watcher(hub, 1), await a_watcher(hub, "*", "globex"):
        late = Source()
        hub.attach(late)
        assert set(late.told) == {("acme", Interest.EVENTS), ("globex", Interest.SUMMARIES)}


# -- limits -----------------------------------------------------------------------------------------------------------


def told_by(hub: LiveHub, name: str) -> dict[str, float]:
    """The samples of one metric of the hub, by its one label."""
    samples: dict[str, float] = {}
    for line in hub.metrics.exposition().decode().splitlines():
        if line.startswith(f"{name}{{"):
            label, _, value = line.partition("} ")
            samples[label.split('"')[1]] = float(value)
    return samples


async def test_a_process_has_so_many_connections() -> None:
    """One more is told so and closed; those that are there notice nothing; who leaves makes room."""
    async with live_hub(max_connections=3) as hub:
        inside = [await a_watcher(hub, 1, tenant) for tenant in ("acme", "acme", "globex")]
        async with await a_client(hub) as client:
            assert (await client.message())["code"] == "too_many_connections"
            assert (await client.closed()).code == 4503
        hub.deliver("acme", "1", an_event(EVENT))
        assert [(await client.message())["type"] for client in inside[:2]] == ["job.progress"] * 2
        inside.pop().close()
        await eventually_async(lambda: len(hub.clients) == 2)
        inside.append(await a_watcher(hub, 1))
        assert told_by(hub, "milepost_hub_errors_total") == {"too_many_connections": 1}
        assert told_by(hub, "milepost_hub_closes_total") == {"4503": 1}
        for client in inside:
            client.close()


async def test_a_tenant_has_so_many_connections_and_others_have_theirs() -> None:
    async with live_hub(max_connections_per_tenant=2) as hub:
        inside = [await a_watcher(hub, 1) for _ in range(2)]
        for way in ("url", "message"):
            async with await RawClient.connect(hub.port, signed() if way == "url" else None) as client:
                if way == "message":
                    await client.send({"action": "auth", "token": signed()})
                assert (await client.message())["code"] == "too_many_connections"
                assert (await client.closed()).code == 4503
        inside.append(await a_watcher(hub, 1, "globex"))
        await eventually_async(lambda: len(hub.clients) == 3)
        inside.pop(0).close()
        await eventually_async(lambda: len(hub.clients) == 2)
        inside.append(await a_watcher(hub, 1))
        hub.deliver("acme", "1", an_event(EVENT))
        assert (await inside[0].message())["type"] == "job.progress"
        assert told_by(hub, "milepost_hub_closes_total") == {"4503": 2}
        for client in inside:
            client.close()
        await hub.emptied()


async def test_a_client_has_so_many_subscriptions() -> None:
    """One more is refused and the client stays; the same again is not one more; one less makes room."""
    async with live_hub(max_subscriptions=3) as hub, await a_client(hub) as client:
        for job in (1, 2, "*", 2, "1"):
            assert (await client.subscribe(job))["type"] == "subscribed"
        assert (await client.subscribe(3, id="x")).items() >= {"code": "too_many_subscriptions", "id": "x"}.items()
        assert not hub.wants("acme", "3")
        await client.send({"action": "unsubscribe", "jobId": 2})
        assert (await client.subscribe(3))["type"] == "subscribed"
        assert told_by(hub, "milepost_hub_errors_total") == {"too_many_subscriptions": 1}


@pytest.mark.parametrize("opcode", [1, 9])
async def test_a_client_may_say_so_much_a_second(opcode: int) -> None:
    """Messages and pings alike: a flood is told and closed, and nobody else is harmed."""
    async with live_hub(max_messages_per_second=5) as hub, await a_watcher(hub, 1) as watcher:
        async with await a_client(hub) as client:
            await client.write(frame(b'{"action":"unsubscribe","jobId":1}' * (opcode == 1), opcode) * 60)
            messages, closed = await client.rest()
            assert closed.code == 4503
            codes = [message.get("code") for message in messages]
            assert codes[-1] == "too_many_messages"
            assert codes.count("too_many_messages") == 1
        hub.deliver("acme", "1", an_event(EVENT))
        assert (await watcher.message())["type"] == "job.progress"
        assert told_by(hub, "milepost_hub_errors_total")["too_many_messages"] == 1
        assert told_by(hub, "milepost_hub_closes_total") == {"4503": 1}


async def test_unreadable_messages_are_told_and_in_the_end_closed() -> None:
    async with live_hub(max_bad_messages=3) as hub, await a_client(hub) as client:
        answers: list[dict[str, Any]] = []
        for text in (b"hello", b"[]", b'{"action":"dance"}'):
            await client.write(frame(text))
            answers.append(await client.message())
        assert {answer["code"] for answer in answers} == {"bad_message"}
        assert (await client.closed()).code == 4502


# -- starting ---------------------------------------------------------------------------------------------------------


async def test_an_address_that_is_taken_is_an_oserror_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    async with live_hub() as hub:
        during = asyncio.all_tasks()
        other = Hub(HubSettings(port=hub.port), hub.verifier)
        with pytest.raises(OSError, match="in use"):
            async with other:
                pytest.fail("it cannot listen")
        assert asyncio.all_tasks() == during
    assert asyncio.all_tasks() == before


async def test_a_subscription_taken_back_and_asked_for_again_is_answered_once() -> None:
    """By the later id: the earlier one was taken back before it took effect."""
    async with live_hub() as hub:
        hub.source.pending = asyncio.get_running_loop().create_future()
        async with await a_client(hub) as client:
            await client.send({"action": "subscribe", "jobId": 1, "id": "first"})
            await client.send({"action": "unsubscribe", "jobId": 1, "id": "back"})
            await client.send({"action": "subscribe", "jobId": 1, "id": "second"})
            assert (await client.message())["type"] == "unsubscribed"
            hub.source.pending.set_result(None)
            assert (await client.message())["id"] == "second"
            assert (await client.message())["type"] == "job.snapshot"
            hub.deliver("acme", "1", an_event(b'{"message":"next"}'))
            assert (await client.message())["type"] == "job.progress"


async def test_a_gauge_that_fails_stops_no_clock(caplog: pytest.LogCaptureFixture) -> None:
    """Metrics are brought up to date by the task that keeps the clients' time: heartbeats go on."""

    def broken() -> float:
        raise RuntimeError("no figure")

    async with live_hub(heartbeat_interval=0.5) as hub:
        hub.metrics.gauge("milepost_test_broken", "One that fails.", broken)
        async with await a_client(hub) as client:
            for _ in range(4):  # over more than a second, after which the metrics are read
                assert (await client.message())["type"] == "heartbeat"
            assert b"milepost_hub_connections 1.0" in hub.metrics.exposition()
        assert "no figure" in caplog.text
