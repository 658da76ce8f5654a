"""Streams of an app of one's own, from its start to its end: across restarts, slow readers, and Ctrl-C."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from milepost.nats_server import NatsServer
from tests.docs.block import all_blocks
from tests.docs.printed import masked, printed
from tests.milepost.app_process import ANN, App, app_running
from tests.milepost.jobs_console import working
from tests.milepost.sse_reader import Told, parse, publish, streaming

KIB = 1024


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    """The example's tenants are always the same: a server of this file's own."""
    with NatsServer() as server:
        yield server


def stream_of(app: App, job: str) -> str:
    return f"{app.url}/progress/api/jobs/{job}/stream"


def rows(told: list[Told]) -> list[int]:
    return [one.row for one in told if one.row is not None]


async def test_a_stream_goes_on_from_its_last_event_after_a_restart_of_the_app(nats: NatsServer) -> None:
    with app_running(nats.url) as app:
        await publish(nats.url, "acme", "restarted", range(5))
        async with streaming(f"{stream_of(app, 'restarted')}?after=start", ANN) as stream:
            first = [told for _ in range(3) if (told := await stream.next()) is not None]
            assert rows(first) == [0, 1, 2]
            app.process.process.kill()
    await publish(nats.url, "acme", "restarted", range(5, 8), end=True)
    with app_running(nats.url) as app:
        async with streaming(stream_of(app, "restarted"), {**ANN, "Last-Event-ID": first[-1].id}) as stream:
            rest = await stream.rest()
            assert rows(rest) == [3, 4, 5, 6, 7]
            assert [one.event for one in rest[-2:]] == ["completed", "done"]
        async with streaming(stream_of(app, "restarted"), {**ANN, "Last-Event-ID": rest[-1].id}) as stream:
            assert stream.status == 204


def test_the_page_shows_what_the_example_prints(nats: NatsServer) -> None:
    with working(nats.url, modules=("examples.jobs",)), app_running(nats.url) as app:
        app.submit("echo", 1)  # until that works, nobody would take another
        commands = [block.text for block in all_blocks() if block.page == "docs/fastapi.md" and "curl" in block.text]
        submit, follow = (command.replace("http://127.0.0.1:8000", app.url) for command in commands)
        assert masked(curl(submit)) == masked(printed("fastapi.md", "curl -s"))
        assert masked(curl(follow)) == masked(printed("fastapi.md", "curl -N"))


def curl(command: str) -> str:
    """What it prints; it says nothing of how far it is."""
    quiet = command.replace("curl -N", "curl -sN")
    ended = subprocess.run(["/bin/bash", "-c", quiet], capture_output=True, text=True, timeout=30, check=True)
    return ended.stdout.rstrip("\n")


def reading_nothing(app: App, job: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A client with little room that reads up to the snapshot and no further."""
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=20)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
    connection.sock.connect(("127.0.0.1", app.port))
    connection.request("GET", f"/progress/api/jobs/{job}/stream", headers=ANN)
    response = connection.getresponse()
    while not response.readline().startswith(b"data:"):
        pass
    assert response.readline() == b"\n"
    return connection, response


@pytest.mark.parametrize("protocol", ["h11", "httptools"])
async def test_a_client_that_does_not_read_is_let_go_and_loses_nothing(nats: NatsServer, protocol: str) -> None:
    """What is held for it is bounded; others hear everything meanwhile; it comes back by its cursor."""
    job, most = f"slow-{protocol}", 256 * KIB
    events, size = 200, 60 * KIB
    with app_running(nats.url, "--http", protocol, MILEPOST_QUEUE_BYTES=str(most), MILEPOST_WRITE_WAIT="1") as app:
        (connection, response), (dead, _) = reading_nothing(app, job), reading_nothing(app, job)
        async with streaming(stream_of(app, job), ANN) as stream:
            assert await stream.next() is not None
            others = asyncio.create_task(stream.rest())
            await publish(nats.url, "acme", job, range(events), padding=size, end=True)
            assert rows(await others) == list(range(events))
        with pytest.raises(http.client.IncompleteRead) as cut:
            response.read()
        response.close()
        connection.close()
        got = parse(cut.value.partial.decode().splitlines())
        # the system holds some MiB of its own
        assert len(cut.value.partial) < events * size / 2
        async with streaming(stream_of(app, job), {**ANN, "Last-Event-ID": got[-1].id}) as stream:
            rest = await stream.rest()
        app.process.interrupt()
        await asyncio.to_thread(app.process.end)  # nor does it hold up the end
        dead.close()
        assert not [line for line in app.process.rest() if "ERROR" in line]
    assert rows(got) + rows(rest) == list(range(events))
    assert rest[-1].event == "done"


@pytest.mark.parametrize(
    ("protocol", "number"),
    [
        ("h11", signal.SIGINT),
        ("httptools", signal.SIGTERM),
        ("milepost_hub.http_protocol:HttpProtocol", signal.SIGINT),
    ],
)
async def test_a_signal_ends_open_streams_and_so_the_app(nats: NatsServer, protocol: str, number: int) -> None:
    """uvicorn itself would wait for them for ever."""
    with app_running(nats.url, "--http", protocol) as app:
        async with (
            streaming(stream_of(app, "endless"), ANN) as one,
            streaming(stream_of(app, "*"), ANN) as many,
        ):
            assert await one.next() is not None
            while (told := await many.next()) is not None and told.event != "listed":
                pass
            app.process.process.send_signal(number)
            assert await one.rest() == await many.rest() == []
        await asyncio.to_thread(app.process.end)
        assert any("Application shutdown complete" in line for line in app.process.rest())
