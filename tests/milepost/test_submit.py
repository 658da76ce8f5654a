"""`milepost submit` and `milepost cancel`, against a hub with a worker behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service, serving
from tests.milepost.console import milepost, running
from tests.milepost.jobs_console import Client, working
from tests.waiting import eventually


@pytest.fixture(scope="module")
def hub() -> Iterator[Service]:
    """A service with a worker, on a NATS of their own."""
    with NatsServer() as server, serving(server.url) as service, working(server.url):
        yield service


def result(client: Client, job: str) -> object:
    eventually(lambda: client.status(job) == "completed")
    return client.snapshot(job)["result"]


def test_the_id_is_all_that_is_printed(hub: Service) -> None:
    client = Client(hub, "only-id")
    ended = milepost("submit", "count", '{"rows": 3}', env=client.environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("\n") == 1
    assert result(client, ended.stdout.strip()) == {"rows": 3}


def test_the_payload_comes_from_the_command_line_a_file_or_standard_input(hub: Service, tmp_path: Path) -> None:
    client = Client(hub, "payloads")
    (tmp_path / "payload.json").write_text('{"from": "a file"}')
    assert result(client, client.submit("echo", '"text"')) == "text"
    assert result(client, client.submit("echo", f"@{tmp_path}/payload.json")) == {"from": "a file"}
    typed = milepost("submit", "echo", "-", env=client.environment, typed="[1, 2]")
    assert result(client, typed.stdout.strip()) == [1, 2]
    ended = milepost("submit", "echo", env=client.environment)
    assert result(client, ended.stdout.strip()) == {}


def test_the_same_key_is_the_same_job(hub: Service) -> None:
    client = Client(hub, "keys")
    first = client.submit("echo", "1", "--key", "today")
    assert client.submit("echo", "1", "--key", "today") == first
    other = milepost("submit", "echo", "2", "--key", "today", env=client.environment)
    assert other.returncode == 1
    assert "409" in other.stderr


@pytest.mark.parametrize(("name", "code"), [("count", 0), ("fail", 1)])
def test_wait_ends_as_the_job_does(hub: Service, name: str, code: int) -> None:
    """With a token that may submit and do nothing else: the one that came with the job watches it."""
    client = Client(hub, "waiting", ("submit",))
    ended = milepost("submit", name, '{"rows": 3}', "--wait", env=client.environment)
    assert ended.returncode == code, ended.stderr
    job, *lines = ended.stdout.splitlines()
    assert " " not in job
    if code:
        assert f"{name}: failed: " in lines[-1]
    else:
        assert lines[-2].endswith(f"{name}: completed")
        assert lines[-1].endswith('result: {"rows": 3}')


def test_a_job_that_runs_is_cancelled_and_wait_says_so(hub: Service) -> None:
    client = Client(hub, "cancelling")
    with running("submit", "listen", "--wait", env=client.environment) as waiting:
        waiting.until("listen: running")
        job = waiting.lines[0]
        ended = milepost("cancel", job, env=client.environment)
        assert (ended.returncode, ended.stdout) == (0, "cancelling\n")
        assert waiting.end() == 3
    again = milepost("cancel", job, env=client.environment)
    assert again.returncode == 1
    assert "has ended" in again.stderr


def test_ctrl_c_ends_the_wait_and_not_the_job(hub: Service) -> None:
    client = Client(hub, "ctrl-c")
    with running("submit", "listen", "--wait", env=client.environment) as waiting:
        waiting.until("listen: running")
        waiting.interrupt()
        assert waiting.end() == 130
    assert client.status(waiting.lines[0]) == "running"
    assert milepost("cancel", waiting.lines[0], env=client.environment).returncode == 0


def test_what_does_not_fit_is_told_with_its_place(hub: Service) -> None:
    ended = milepost("submit", "count", '{"rows": "many"}', env=Client(hub, "reasons").environment)
    assert ended.returncode == 1
    first, second = ended.stderr.splitlines()
    assert first.startswith("milepost: the hub says (422): the payload of count does not fit")
    assert second.startswith("  payload.rows: ")
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["submit", "nobody-has-it"], "(404)", 1),
        (["submit", "no such name"], "(422)", 1),
        (["submit", "echo", json.dumps("x" * 66_000)], "(413)", 1),
        (["submit", "echo", "{no json"], "not JSON", 2),
        (["submit", "echo", "[" * 100_000], "not JSON", 2),
        (["submit", "echo", "@/nowhere.json"], "@/nowhere.json", 2),
        (["submit", "echo", "--url", "http://127.0.0.1:1"], "cannot be reached", 1),
        (["submit", "echo", "--url", "ftp://x"], "MILEPOST_URL", 2),
        (["submit", "echo", "--token", "none"], "(401)", 1),
        (["cancel", "nobody-has-it"], "nobody has heard of job", 1),
        (["cancel", "a.b"], "job must be", 2),
        (["cancel", "1", "--url", "http://127.0.0.1:1"], "cannot be reached", 1),
    ],
)
def test_a_refusal_is_told_in_one_line(hub: Service, arguments: list[str], told: str, code: int) -> None:
    ended = milepost(*arguments, env=Client(hub, "refusals").environment)
    assert ended.returncode == code, ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b'HTTP/1.0 503 \r\n\r\n{"detail": "jobs cannot be taken just now"}', "(503): jobs cannot be taken just now"),
        (b"HTTP/1.0 504 \r\n\r\n", "HTTP 504"),
        (b"", "has not answered (Remote end closed connection without response)"),
    ],
    ids=["the hub says so", "its proxy says so", "no answer"],
)
@pytest.mark.parametrize(("key", "advice"), [([], "with --key"), (["--key", "k"], "with the same key")])
def test_who_cannot_know_whether_a_job_was_taken_is_told_so(
    key: list[str], advice: str, answer: bytes, told: str
) -> None:
    class Away(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Away) as away:
        threading.Thread(target=away.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{away.server_port}"
            ended = milepost("submit", "echo", *key, "--url", url, "--token", "any")
        finally:
            away.shutdown()
    assert ended.returncode == 1
    assert told in ended.stderr
    assert "; it may have been taken all the same" in ended.stderr
    assert advice in ended.stderr


@pytest.mark.parametrize("command", ["submit", "cancel"])
def test_the_token_s_scope_must_allow_it_and_there_must_be_one(hub: Service, command: str) -> None:
    watching = Client(hub, "scopes", ("watch",))
    refused = milepost(command, "echo", env=watching.environment)
    assert refused.returncode == 1
    assert "scope" in refused.stderr
    without = milepost(command, "echo", env={"MILEPOST_URL": hub.url})
    assert without.returncode == 2
    assert f"--scope {command}" in without.stderr


def test_what_is_no_hub_is_told(shared_nats: NatsServer) -> None:
    url = shared_nats.url.replace("nats://", "http://")
    ended = milepost("submit", "echo", "--url", url, "--token", "x")
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
