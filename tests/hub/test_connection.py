"""The WebSocket as a client meets it: handshake, frames, closing, liveness, and whatever a stranger may send."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import random
import socket
import struct
import time
from typing import Any

import pytest
from milepost_hub.connection import Connection
from milepost_hub.token import issue
from websockets.http11 import Request

from tests.hub.live_hub import EVENT, LiveHub, a_client, a_watcher, an_event, live_hub
from tests.hub.raw_client import BINARY, CLOSE, CONT, PING, PONG, TEXT, Closed, RawClient, accepts, frame, upgrade
from tests.hub.signers import SECRET
from tests.waiting import eventually_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBSCRIBE = json.dumps({"action": "subscribe", "jobId": 123}).encode()


def token(tenant: str = "acme") -> str:
    return issue(SECRET, tenant)


# -- the original client --------------------------------------------------------------------------------------------


async def test_the_original_client_receives_the_payload_byte_for_byte(module_hub: LiveHub) -> None:
    async with await RawClient.connect(module_hub.port, token()) as client:
        await client.write(frame(b'{"action":"subscribe","jobId":123}'))
        assert [(await client.message())["type"] for _ in range(2)] == ["subscribed", "job.snapshot"]
        module_hub.deliver("acme", "123", an_event(EVENT, "1"))
        assert await client.text() == b'{"type":"job.progress","jobId":123,"payload":%b}' % EVENT


@pytest.mark.parametrize("size", [0, 1, 60, 70, 1_000, 65_000, 66_000, 300_000])
async def test_payloads_of_every_length_arrive(module_hub: LiveHub, size: int) -> None:
    payload = b'{"message":"%b"}' % (b"x" * size)
    async with await a_watcher(module_hub, "long-job") as client:
        module_hub.deliver("acme", "long-job", an_event(payload))
        assert await client.text() == b'{"type":"job.progress","jobId":"long-job","payload":%b}' % payload


# -- the handshake --------------------------------------------------------------------------------------------------


async def shake_hands(hub: LiveHub, request: bytes) -> int:
    """The status that answers this upgrade; unless it is 101 the hub closes, and nothing is left."""
    async with await RawClient.open(hub.port) as client:
        await client.write(request)
        response = await client.response()
        if response.status == 101:
            assert accepts(response)
        else:
            assert await client.at_end()
    await hub.emptied()
    return response.status


@pytest.mark.parametrize("path", ["/", "/ws/", "/wss", "/WS", "/ws/123", "//[/ws", "/healthz", "/%77s", "//ws"])
async def test_there_is_a_websocket_at_one_path_only(module_hub: LiveHub, path: str) -> None:
    assert await shake_hands(module_hub, upgrade(path)) == 404


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "http://hub.example",
        "https://hub.example",
        "http://HUB.example",
        "http://hub.example:80",
        "https://app.example",
        "https://app.example:443",
    ],
)
async def test_the_hubs_own_pages_the_named_ones_and_programs_may_connect(
    module_hub: LiveHub, origin: str | None
) -> None:
    assert await shake_hands(module_hub, upgrade(headers={"Origin": origin})) == 101


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "http://hub.example:8080",
        "null",
        "",
        "file://",
        "https://[",
        "https://app.example@evil.example",
    ],
)
async def test_foreign_pages_may_not(module_hub: LiveHub, origin: str) -> None:
    assert await shake_hands(module_hub, upgrade(headers={"Origin": origin})) == 403


async def test_two_origins_are_none(module_hub: LiveHub) -> None:
    request = upgrade(headers={"Origin": "https://app.example\r\nOrigin: https://evil.example"})
    assert await shake_hands(module_hub, request) == 403


async def test_two_authorizations_are_refused_in_words(module_hub: LiveHub) -> None:
    headers = {"Authorization": f"Bearer {token()}\r\nAuthorization: Bearer {token()}"}
    async with await RawClient.connect(module_hub.port, headers=headers) as client:
        assert (await client.message())["code"] == "token_malformed"
        assert (await client.closed()).code == 4500


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_behind_a_proxy_the_hubs_own_page_is_the_proxys(module_hub: LiveHub, scheme: str) -> None:
    """A proxy that ends TLS and keeps the Host, and says whom it forwards for."""
    headers = {
        "Host": "jobs.example",
        "Origin": f"{scheme}://jobs.example",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": scheme,
        "X-Forwarded-Host": "jobs.example",
    }
    assert await shake_hands(module_hub, upgrade(headers=headers)) == 101
    assert await shake_hands(module_hub, upgrade(headers=headers | {"Origin": "https://evil.example"})) == 403


async def test_a_forwarded_host_is_believed_of_a_trusted_proxy_only() -> None:
    """Many proxies put their own name for the hub into Host, and the page's into X-Forwarded-Host."""
    headers = {"Host": "hub:8080", "Origin": "https://jobs.example", "X-Forwarded-Host": "jobs.example"}
    for trusted, status in {"127.0.0.1": 101, "10.0.0.0/8, 127.0.0.0/8": 101, "*": 101, "10.1.2.3": 403}.items():
        async with live_hub(trusted_proxies=trusted) as hub:
            assert await shake_hands(hub, upgrade(headers=headers)) == status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec-WebSocket-Key": None}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Sec-WebSocket-Version": None}, 400),
        ({"Cookie": "x" * 9_000}, 431),
    ],
    ids=str,
)
async def test_an_upgrade_that_is_none_is_refused(
    module_hub: LiveHub, changes: dict[str, str | None], status: int
) -> None:
    assert await shake_hands(module_hub, upgrade(headers=changes)) == status


async def test_an_upgrade_is_a_get(module_hub: LiveHub) -> None:
    assert await shake_hands(module_hub, upgrade(method="PUT")) == 405


@pytest.mark.parametrize("changes", [{"Upgrade": None}, {"Upgrade": "h2c"}, {"Connection": "keep-alive"}], ids=str)
async def test_a_get_without_an_upgrade_is_http(module_hub: LiveHub, changes: dict[str, str | None]) -> None:
    async with await RawClient.open(module_hub.port) as client:
        await client.write(upgrade(headers=changes))
        response = await client.response()
    assert (response.status, response.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(None, None), ("milepost", "milepost"), ("chat, milepost", "milepost"), ("chat", None), ("MILEPOST", None)],
)
async def test_our_subprotocol_is_chosen_when_offered_and_none_otherwise(
    module_hub: LiveHub, offered: str | None, chosen: str | None
) -> None:
    async with await RawClient.open(module_hub.port) as client:
        await client.write(upgrade(headers={"Sec-WebSocket-Protocol": offered}))
        response = await client.response()
    assert accepts(response)
    assert response.headers.get("sec-websocket-protocol") == chosen


async def test_compression_is_not_negotiated(module_hub: LiveHub) -> None:
    """Frames are encoded once for everybody."""
    async with await RawClient.open(module_hub.port) as client:
        await client.write(upgrade(headers={"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}))
        response = await client.response()
    assert accepts(response)
    assert "sec-websocket-extensions" not in response.headers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_may_come_as_a_header(module_hub: LiveHub, scheme: str) -> None:
    async with await RawClient.connect(module_hub.port, headers={"Authorization": f"{scheme} {token()}"}) as client:
        assert (await client.subscribe(1))["type"] == "subscribed"


async def test_a_token_may_come_as_the_first_message(module_hub: LiveHub) -> None:
    async with await RawClient.connect(module_hub.port) as client:
        assert (await client.subscribe(1, id=7)).items() >= {"code": "unauthenticated", "id": 7}.items()
        await client.send({"action": "auth", "token": token(), "id": 8})
        assert (await client.message()).items() >= {"type": "authenticated", "id": 8}.items()
        assert (await client.subscribe(1))["type"] == "subscribed"


async def test_without_a_token_in_time_the_client_is_told_and_closed() -> None:
    async with live_hub(auth_wait=0.2) as hub, await RawClient.connect(hub.port) as client:
        assert (await client.message())["code"] == "token_missing"
        assert (await client.closed()).code == 4500


async def test_a_client_keeps_no_token_in_memory_that_it_came_with(module_hub: LiveHub) -> None:
    """Neither the request nor its headers outlive the handshake."""
    async with await RawClient.connect(module_hub.port, token(), {"Cookie": "c" * 3_000}) as client:
        await client.subscribe(1)
        connection = next(iter(module_hub.clients))
        assert "c" * 3_000 not in repr(everything_of(connection))
        assert "eyJ" not in repr(everything_of(connection))


def everything_of(connection: Connection) -> list[object]:
    """What the client's parser holds on to, the local variables of its suspended generators included."""
    wire = connection._wire
    held: list[object] = [vars(wire)]
    generator: Any = wire.parser
    while inspect.isgenerator(generator):
        for value in inspect.getgeneratorlocals(generator).values():
            held.append(vars(value) if isinstance(value, Request) else value)
        generator = generator.gi_yieldfrom
    return held


# -- frames ---------------------------------------------------------------------------------------------------------


async def test_a_message_may_come_in_fragments_with_pings_between(module_hub: LiveHub) -> None:
    async with await a_client(module_hub) as client:
        await client.write(frame(SUBSCRIBE[:5], TEXT, fin=False))
        await client.write(frame(b"still there?", PING))
        pong = await client.frame()
        assert (pong.opcode, pong.data) == (PONG, b"still there?")
        for byte in SUBSCRIBE[5:]:
            await client.write(frame(bytes([byte]), CONT, fin=False))
        await client.write(frame(b"", CONT))
        assert (await client.message())["type"] == "subscribed"


async def test_many_messages_may_come_in_one_segment(module_hub: LiveHub) -> None:
    actions = [{"action": "subscribe", "jobId": number, "id": number} for number in range(50)]
    async with await a_client(module_hub) as client:
        await client.write(b"".join(frame(json.dumps(action).encode()) for action in actions))
        assert [(await client.until("subscribed"))["id"] for _ in actions] == list(range(50))


async def test_every_ping_is_answered_with_its_payload(module_hub: LiveHub) -> None:
    async with await a_client(module_hub) as client:
        for size in (0, 1, 125):
            await client.write(frame(b"p" * size, PING))
            assert await client.frame() == (True, PONG, b"p" * size)


async def test_a_message_of_4096_bytes_is_read(module_hub: LiveHub) -> None:
    async with await a_client(module_hub) as client:
        await client.write(frame(SUBSCRIBE.ljust(4096)))
        assert (await client.message())["type"] == "subscribed"


@pytest.mark.parametrize("size", [4097, 70_000, 1_000_000])
async def test_a_longer_one_is_1009(module_hub: LiveHub, size: int) -> None:
    """Told also to a client that is still writing it."""
    async with await a_client(module_hub) as client:
        await client.write(frame(SUBSCRIBE.ljust(size)))
        assert (await client.closed()).code == 1009


async def test_fragments_that_are_too_long_together_are_1009(module_hub: LiveHub) -> None:
    async with await a_client(module_hub) as client:
        await client.write(frame(b"x" * 4000, TEXT, fin=False) + frame(b"x" * 97, CONT))
        assert (await client.closed()).code == 1009


@pytest.mark.parametrize("cut", [None, 25])
async def test_text_that_is_no_utf_8_is_1007(module_hub: LiveHub, cut: int | None) -> None:
    data = b'{"action":"subscribe","id":"\xff"}'
    async with await a_client(module_hub) as client:
        if cut is None:
            await client.write(frame(data))
        else:
            await client.write(frame(data[:cut], fin=False) + frame(data[cut:], CONT))
        assert (await client.closed()).code == 1007


async def test_a_character_may_be_cut_between_fragments(module_hub: LiveHub) -> None:
    data = json.dumps({"action": "subscribe", "jobId": 1, "id": "é€😀"}, ensure_ascii=False).encode()
    async with await a_client(module_hub) as client:
        await client.write(frame(data[:-4], fin=False) + frame(data[-4:], CONT))
        assert (await client.message())["id"] == "é€😀"


async def test_binary_messages_are_refused_and_in_the_end_closed(module_hub: LiveHub) -> None:
    """Each once, however many fragments it has."""
    async with await a_client(module_hub) as client:
        await client.write(frame(b"\x00", BINARY, fin=False) + frame(b"\x01", CONT, fin=False) + frame(b"\x02", CONT))
        await client.write(frame(SUBSCRIBE))
        assert [(await client.message())["type"] for _ in range(3)] == ["error", "subscribed", "job.snapshot"]
        for _ in range(9):
            await client.write(frame(b"\x00", BINARY))
            assert (await client.message())["code"] == "bad_message"
        assert (await client.closed()).code == 4502


@pytest.mark.parametrize(
    "data",
    [
        frame(SUBSCRIBE, mask=False),
        frame(SUBSCRIBE, 3),
        frame(b"", 11),
        frame(SUBSCRIBE, reserved=4),
        frame(SUBSCRIBE, reserved=1),
        frame(SUBSCRIBE, CONT),
        frame(b"x" * 126, PING),
        frame(b"x", PING, fin=False),
        frame(b"{", fin=False) + frame(b"}", TEXT),
        frame(b"\x03", CLOSE),
        frame(struct.pack("!H", 1005), CLOSE),
    ],
    ids=["unmasked", "opcode 3", "opcode 11", "rsv1", "rsv3", "nothing to continue", "long ping", "ping in fragments",
         "text within text", "half a close code", "close code 1005"],
)  # fmt: skip
async def test_what_the_standard_forbids_is_1002(module_hub: LiveHub, data: bytes) -> None:
    async with await a_client(module_hub) as client:
        await client.write(data)
        assert (await client.closed()).code == 1002
    await module_hub.emptied()


async def test_a_clients_close_is_echoed_and_ends_the_connection(module_hub: LiveHub) -> None:
    async with await a_watcher(module_hub, 1) as client:
        await client.write(frame(struct.pack("!H", 1000) + b"bye", CLOSE))
        module_hub.deliver("acme", "1", an_event(EVENT))
        got = await client.frame()
        while got.opcode == TEXT:
            got = await client.frame()
        assert (got.opcode, got.data) == (CLOSE, struct.pack("!H", 1000) + b"bye")
        assert await client.at_end()
    await module_hub.emptied()


async def test_a_client_may_vanish_without_a_word(module_hub: LiveHub) -> None:
    for _ in range(20):
        client = await a_watcher(module_hub, 1)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # by a reset
        module_hub.deliver("acme", "1", an_event(EVENT))
    await module_hub.emptied()


async def test_fragments_without_end_are_not_piled_up(module_hub: LiveHub) -> None:
    """Empty ones never reach the size limit."""
    async with await a_client(module_hub, sub="piler") as client:
        connection = await module_hub.client_of("piler")
        await client.write(frame(b"{", fin=False) + frame(b"", CONT, fin=False) * 5_000 + frame(b"", PING))
        assert (await client.frame()).opcode == PONG
        assert connection._fragments == b"{"


# -- strangers ------------------------------------------------------------------------------------------------------


async def test_garbage_disturbs_nobody_and_leaves_nothing(
    module_hub: LiveHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Hundreds of connections that send noise, half-right frames or a torn handshake, beside one that watches."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    noise = random.Random(seed)  # noqa: S311 - noise
    shaken = b"HTTP/1.1 101 "
    async with await a_watcher(module_hub, 9) as watcher:
        for number in range(300):
            async with await RawClient.open(module_hub.port) as stranger:
                hello = upgrade(f"/ws?token={token()}")
                if number % 3 == 2:
                    place = noise.randrange(len(hello))
                    await stranger.write(hello[:place] + noise.randbytes(8) + hello[place:])
                else:
                    await stranger.write(hello)
                    assert await stranger.read_some()
                    assert bytes(stranger._read).startswith(shaken)
                    await write_what_can_be(stranger, some_noise(noise))
            module_hub.deliver("acme", "9", an_event(b'{"message":"%d"}' % number))
        for number in range(300):
            assert (await watcher.message())["payload"]["message"] == str(number)
        await eventually_async(lambda: len(module_hub.open_connections) == 1)
        assert len(module_hub.clients) == 1
    await module_hub.emptied()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def some_noise(noise: random.Random) -> bytes:
    kind = noise.randrange(4)
    if kind == 0:
        return noise.randbytes(noise.randrange(1, 3_000))
    if kind == 1:
        return b"".join(
            frame(
                noise.randbytes(noise.randrange(130)),
                noise.randrange(16),
                fin=noise.random() < 0.8,
                mask=noise.random() < 0.95,
                reserved=noise.choice([0] * 9 + [1]),
            )
            for _ in range(20)
        )
    if kind == 2:
        return frame(SUBSCRIBE)[: noise.randrange(1, len(SUBSCRIBE))]
    return b"".join(frame(bytes(noise.choices(b'{}[]":,0123action subscribejobId*', k=40))) for _ in range(12))


async def write_what_can_be(client: RawClient, data: bytes) -> None:
    """The hub may have closed before all was written, and that is its right."""
    try:
        await client.write(data)
    except (ConnectionResetError, BrokenPipeError):
        return


# -- liveness -------------------------------------------------------------------------------------------------------


async def test_a_client_that_answers_is_pinged_again_and_again_and_stays() -> None:
    async with live_hub(ping_interval=0.1, pong_timeout=5) as hub, await a_client(hub) as client:
        for _ in range(5):
            got = await client.frame()
            assert got.opcode == PING
            await client.write(frame(got.data, PONG))
        assert (await client.subscribe(1))["type"] == "subscribed"


async def test_a_client_that_sends_no_pong_is_dead() -> None:
    async with live_hub(ping_interval=0.1, pong_timeout=0.3) as hub, await a_watcher(hub, 1) as client:
        assert (await client.frame()).opcode == PING
        await hub.emptied()
        assert hub.closes == {"dead": 1}
        assert hub.wants("acme", "1") is False


async def test_who_was_stuck_is_asked_before_it_is_given_up() -> None:
    """While nothing can be written no ping is; so none can be missed."""
    async with (
        live_hub(ping_interval=0.2, pong_timeout=0.6, write_wait=15, queue_messages=10_000) as hub,
        await a_watcher(hub, 1, sub="stuck", receive_buffer=4096) as client,
    ):
        connection = await hub.client_of("stuck")
        sent = 0
        while connection.liveness.stuck_since is None:
            hub.deliver("acme", "1", an_event(b'{"message":"%b"}' % (b"x" * 20_000)))
            sent += 1
            await asyncio.sleep(0)
        since = connection.liveness.stuck_since
        await eventually_async(lambda: time.monotonic() > since + 1.0)
        for _ in range(sent):
            await client.until("job.progress")
        assert (await client.subscribe(2))["type"] == "subscribed"


async def test_a_silent_hub_says_that_it_is_alive() -> None:
    async with live_hub(heartbeat_interval=0.1) as hub, await a_client(hub) as client:
        for _ in range(3):
            message = await client.message()
            assert (message["type"], set(message)) == ("heartbeat", {"type", "at"})


async def test_no_heartbeat_comes_while_messages_flow() -> None:
    """A message every tenth of the interval, for three intervals."""
    async with live_hub(heartbeat_interval=0.5) as hub, await a_watcher(hub, 1) as client:
        for number in range(30):
            hub.deliver("acme", "1", an_event(b'{"message":"%d"}' % number))
            assert (await client.message())["type"] == "job.progress"
            await asyncio.sleep(0.05)  # the time between events is what this test is about
        assert (await client.message())["type"] == "heartbeat"


async def test_a_closed_client_that_does_not_answer_is_cut_off() -> None:
    """The closing frame has the write wait to be answered."""
    async with live_hub(write_wait=0.3) as hub, await a_client(hub) as client:
        assert hub.revoke("acme") == 1
        with pytest.raises(Closed) as told:
            await client.text()
        assert told.value.code == 4004
        await hub.emptied()


async def test_the_kernel_holds_little_for_a_client(module_hub: LiveHub) -> None:
    async with await a_client(module_hub, sub="one"):
        connection = await module_hub.client_of("one")
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 16 * 1024
