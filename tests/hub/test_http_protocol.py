"""From HTTP to WebSocket on one connection, wherever TCP cuts it."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from milepost_hub.token import issue

from tests.hub.live_hub import LiveHub, live_hub
from tests.hub.raw_client import RawClient, accepts, frame, upgrade
from tests.hub.signers import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUBSCRIBE = frame(json.dumps({"action": "subscribe", "jobId": 123}).encode())
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: hub.example\r\n\r\n"


def an_upgrade() -> bytes:
    return upgrade(f"/ws?token={issue(SECRET, 'acme')}")


async def the_hub_reads() -> None:
    """Let the event loop, which is the hub's too, go round: what is in its sockets is read."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_first_frame_in_the_segment_of_the_handshake_is_answered(module_hub: LiveHub) -> None:
    async with await RawClient.open(module_hub.port) as client:
        await client.write(an_upgrade() + SUBSCRIBE)
        assert accepts(await client.response())
        assert (await client.message())["type"] == "subscribed"


async def test_a_handshake_may_be_cut_anywhere(module_hub: LiveHub) -> None:
    """In two at every byte of the request and of the frame behind it."""
    whole = an_upgrade() + SUBSCRIBE
    for cut in range(1, len(whole)):
        async with await RawClient.open(module_hub.port) as client:
            await client.write(whole[:cut])
            await the_hub_reads()
            await client.write(whole[cut:])
            assert accepts(await client.response()), cut
            assert (await client.message())["jobId"] == 123, cut


async def test_a_handshake_may_come_byte_by_byte(module_hub: LiveHub) -> None:
    whole = an_upgrade() + SUBSCRIBE
    async with await RawClient.open(module_hub.port) as client:
        for place in range(len(whole)):
            await client.write(whole[place : place + 1])
            await the_hub_reads()
        assert accepts(await client.response())
        assert (await client.message())["jobId"] == 123


async def test_a_get_behind_the_upgrade_is_no_http_any_more(module_hub: LiveHub) -> None:
    """It is an unmasked frame, if anything: the connection ends by the standard, and nothing answers the GET."""
    async with await RawClient.open(module_hub.port) as client:
        await client.write(an_upgrade() + HEALTH)
        assert accepts(await client.response())
        assert (await client.closed()).code == 1002
    await module_hub.emptied()


async def test_a_get_before_the_upgrade_is_answered_first(module_hub: LiveHub) -> None:
    async with await RawClient.open(module_hub.port) as client:
        await client.write(HEALTH + an_upgrade() + SUBSCRIBE)
        assert (await client.response()).status == 200
        assert accepts(await client.response())
        assert (await client.message())["type"] == "subscribed"


async def test_a_kept_alive_connection_may_upgrade(module_hub: LiveHub) -> None:
    async with await RawClient.open(module_hub.port) as client:
        for _ in range(2):
            await client.write(HEALTH)
            assert (await client.response()).status == 200
        await client.write(an_upgrade())
        assert accepts(await client.response())


async def test_an_upgrade_with_a_body_is_refused(module_hub: LiveHub) -> None:
    """Its body would be read as frames."""
    async with await RawClient.open(module_hub.port) as client:
        await client.write(upgrade(headers={"Content-Length": str(len(SUBSCRIBE))}) + SUBSCRIBE)
        assert await client.at_end()
    await module_hub.emptied()


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_access_log_tells_of_requests_without_their_tokens(
    enabled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in a program whose own logging takes nothing out, at its most talkative."""
    caplog.set_level(logging.DEBUG)
    token = issue(SECRET, "acme")
    async with live_hub(access_log=enabled) as hub:
        for request in (
            f"GET /healthz?token={token} HTTP/1.1\r\nHost: hub\r\n\r\n".encode(),
            f"GET /ws?token={token} HTTP/1.1\r\nHost: hub\r\n\r\n".encode(),
            upgrade(f"/elsewhere?token={token}"),
            upgrade(f"/ws?token={token}", {"Sec-WebSocket-Key": None}),
            upgrade(f"/ws?token={token}", {"Authorization": f"Bearer {token}"}) + SUBSCRIBE,
        ):
            async with await RawClient.open(hub.port) as client:
                await client.write(request)
                await client.response()
    assert token not in caplog.text
    assert token.rpartition(".")[2] not in caplog.text
    assert ("GET /healthz HTTP/1.1" in caplog.text) == enabled
