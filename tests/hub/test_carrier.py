"""A stream's way out by ASGI's words alone: the client's end is heard, and a server that waits is not waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from milepost_hub.carrier import AsgiCarrier

from tests.waiting import eventually_async

PIECE = {"type": "http.response.body", "body": b"piece", "more_body": True}


class Server:
    """The server's side of one request, as slow as a test wants."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.room = asyncio.Event()
        self.room.set()
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        return await self.heard.get()

    async def send(self, message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        await self.room.wait()
        self.sent.append(message)


class Heard:
    """A stream that only listens."""

    def __init__(self) -> None:
        self.gone = 0

    def lost(self) -> None:
        self.gone += 1

    def leave(self) -> None:
        raise AssertionError("nobody tells an app that its server goes down")


async def test_pieces_go_to_the_server() -> None:
    server = Server()
    carrier = AsgiCarrier(server.receive)
    await carrier.carry(server.send, b"piece")
    assert server.sent == [PIECE]
    assert not carrier.aborted


async def test_the_clients_end_is_heard_behind_its_request_and_cuts_a_piece_under_way() -> None:
    server, stream = Server(), Heard()
    server.room.clear()
    carrier = AsgiCarrier(server.receive)
    carrier.begin_stream(stream, 0)
    carrying = asyncio.create_task(carrier.carry(server.send, b"piece"))
    server.heard.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    server.heard.put_nowait({"type": "http.disconnect"})
    await eventually_async(carrying.done)
    assert (stream.gone, carrier.aborted, server.sent) == (1, True, [])
    await carrier.carry(server.send, b"another")
    assert not server.sent


async def test_a_client_that_is_given_up_is_waited_for_no_longer() -> None:
    server = Server()
    server.room.clear()
    carrier = AsgiCarrier(server.receive)
    carrying = asyncio.create_task(carrier.carry(server.send, b"piece"))
    await asyncio.sleep(0)
    carrier.abort()
    carrier.abort()
    await carrying
    assert carrier.aborted
    assert carrying.cancelling() == 0


@pytest.mark.parametrize(("version", "times"), [("1.1", 1), ("2", 0)])
async def test_a_connection_is_closed_that_is_of_this_request_alone(version: str, times: int) -> None:
    class Transport:
        aborted = 0

        def abort(self) -> None:
            self.aborted += 1

    class Cycle(Server):
        """As uvicorn's, whose connection can be seen."""

        transport = Transport()

    carrier = AsgiCarrier(Cycle().receive, version)
    carrier.abort()
    carrier.abort()
    assert Cycle.transport.aborted == times


async def test_whoever_cancels_the_request_does() -> None:
    """A middleware with a time of its own, or the server."""
    server = Server()
    server.room.clear()
    carrying = asyncio.create_task(AsgiCarrier(server.receive).carry(server.send, b"piece"))
    await asyncio.sleep(0)
    carrying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await carrying


@pytest.mark.parametrize("error", [OSError("the client has gone"), ConnectionResetError()])
async def test_a_server_that_says_so_by_an_error_is_believed(error: OSError) -> None:
    async def send(message: Any) -> None:  # noqa: ANN401
        raise error

    carrier = AsgiCarrier(Server().receive)
    await carrier.carry(send, b"piece")
    assert carrier.aborted


async def test_a_servers_own_time_out_is_the_servers() -> None:
    async def send(message: Any) -> None:  # noqa: ANN401
        raise TimeoutError("it took too long")

    with pytest.raises(TimeoutError, match="too long"):
        await AsgiCarrier(Server().receive).carry(send, b"piece")


async def test_nobody_listens_after_the_stream() -> None:
    before = asyncio.all_tasks()
    carrier = AsgiCarrier(Server().receive)
    carrier.begin_stream(Heard(), 0)
    carrier.end_stream()
    await eventually_async(lambda: asyncio.all_tasks() == before)
