"""`milepost watch` follows a job over the hub's own WebSocket, to its end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from websockets.sync.server import ServerConnection, serve

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service, serving
from tests.milepost.console import milepost, running


class Job:
    """Publishes one job's events as a shell would."""

    def __init__(self, nats_url: str, tenant: str, job: str) -> None:
        self._env = {"NATS_URL": nats_url, "MILEPOST_TENANT": tenant}
        self._job = job

    def says(self, **event: object) -> None:
        ended = milepost("pub", self._job, "--json", json.dumps(event), env=self._env)
        assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 3)])
def test_the_exit_code_tells_how_the_job_ended(
    service: Service, shared_nats: NatsServer, status: str, code: int
) -> None:
    tenant = f"watch-{status}"
    with running("watch", "42", "--json", env=service.environment(tenant)) as watching:
        watching.until('"subscribed"')
        Job(shared_nats.url, tenant, "42").says(status=status)
        assert watching.end() == code


def test_off_a_terminal_there_are_plain_lines(service: Service, shared_nats: NatsServer) -> None:
    job = Job(shared_nats.url, "watch-lines", "7")
    env = service.environment("watch-lines")
    with running("watch", "7", env=env) as watching, running("watch", "7", "--json", env=env) as second:
        watching.until("connected")
        second.until('"subscribed"')
        job.says(status="running", name="Nightly")
        watching.until("Nightly: running")
        job.says(nodeId=1, nodeName="DB Input", status="running", rowCount=5, total=10, unit="rows")
        assert "DB Input: running  5/10 rows" in watching.until("DB Input")
        job.says(kind="log", message="look here", data={"level": "warning"})
        watching.until("warning: look here")
        job.says(status="completed")
        assert "Nightly: completed" in watching.rest()[-1]
        assert watching.end() == 0
        payload = json.loads(second.rest()[-1])["payload"]
        assert payload == {"status": "completed"}


def test_the_timeout_ends_it(service: Service) -> None:
    ended = milepost("watch", "1", "--timeout", "0.5s", env=service.environment("watch-timeout"))
    assert ended.returncode == 1
    assert "has not ended within" in ended.stderr


def test_ctrl_c_ends_it_with_130(service: Service) -> None:
    with running("watch", "1", "--json", env=service.environment("watch-ctrl-c")) as watching:
        watching.until('"subscribed"')
        watching.interrupt()
        assert watching.end() == 130
        assert not any("Traceback" in line for line in watching.rest())


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["1"], "no token", 2),
        (["a.b", "--token", "x"], "job must be", 2),
        (["1", "--token", "x", "--url", "ftp://x"], "MILEPOST_URL", 2),
        (["1", "--token", "x", "--timeout", "soon"], "no duration", 2),
        (["1", "--token", "x", "--url", "http://127.0.0.1:1"], "cannot be reached", 1),
    ],
)
def test_what_cannot_be_watched_is_told_in_one_line(arguments: list[str], told: str, code: int) -> None:
    ended = milepost("watch", *arguments)
    assert ended.returncode == code
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_bad_token_is_told_and_not_tried_again(service: Service) -> None:
    ended = milepost("watch", "1", "--url", service.url, "--token", "no.such.token")
    assert ended.returncode == 1
    assert "4500" in ended.stderr


def test_a_job_that_the_token_does_not_allow_is_told(service: Service) -> None:
    token = service.token("watch-forbidden", jobs=["1"])
    ended = milepost("watch", "2", "--url", service.url, "--token", token, "--timeout", "10s")
    assert ended.returncode == 1
    assert "the hub says" in ended.stderr


def test_what_is_no_hub_is_told(shared_nats: NatsServer) -> None:
    url = shared_nats.url.replace("nats://", "http://")
    ended = milepost("watch", "1", "--url", url, "--token", "x")
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1


def test_it_comes_back_when_the_hub_does(shared_nats: NatsServer) -> None:
    with serving(shared_nats.url) as first:
        env = first.environment("watch-again")
        port = re.search(r":(\d+)$", first.url)
        assert port is not None
        with running("watch", "1", env=env) as watching:
            watching.until("connected")
            first.process.process.terminate()
            assert first.process.end() == 0
            watching.until("reconnecting")
            with serving(shared_nats.url, "--port", port[1]):
                watching.until("connected again")
                Job(shared_nats.url, "watch-again", "1").says(status="completed")
                assert watching.end() == 0


@pytest.fixture
def closing_hub() -> Iterator[tuple[str, list[int]]]:
    """A hub that closes each connection at once with the next of these codes, and counts them."""
    codes = [4002, 4001, 4003, 4501]
    seen: list[int] = []

    def handle(connection: ServerConnection) -> None:
        connection.recv()
        seen.append(codes[len(seen)])
        connection.close(seen[-1], "because")

    import threading

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws", seen
        server.shutdown()
        thread.join()


def test_the_close_code_says_whether_to_come_back(closing_hub: tuple[str, list[int]]) -> None:
    url, seen = closing_hub
    ended = milepost("watch", "1", "--url", url, "--token", "x")
    assert seen == [4002, 4001, 4003, 4501]
    assert ended.returncode == 1
    assert "4501" in ended.stderr
    assert "because" in ended.stderr
