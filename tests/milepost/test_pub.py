"""`milepost pub` sends one valid event, and knows that NATS has taken it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from milepost.nats_server import NatsServer
from tests.milepost.console import milepost

NATS_CONF = Path(__file__).parents[2] / "docker" / "nats.conf"


@asynccontextmanager
async def heard(url: str, subject: str) -> AsyncIterator[asyncio.Queue[tuple[str, dict[str, Any]]]]:
    """What is published on `subject` meanwhile."""
    queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    async def take(message: Msg) -> None:
        queue.put_nowait((message.subject, json.loads(message.data)))

    client = await nats.connect(url)
    try:
        await client.subscribe(subject, cb=take)
        await client.flush()
        yield queue
    finally:
        await client.close()


async def published(server: NatsServer, *arguments: str) -> tuple[str, dict[str, Any]]:
    """The one event that a call of `milepost pub` came to."""
    async with heard(server.url, "tenant.pub.>") as queue:
        env = {"NATS_URL": server.url, "MILEPOST_TENANT": "pub"}
        ended = await asyncio.to_thread(milepost, "pub", *arguments, env=env)
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == ""
        return await asyncio.wait_for(queue.get(), 10)


async def test_a_node_s_progress_has_the_wire_s_field_names(shared_nats: NatsServer) -> None:
    subject, event = await published(
        shared_nats,
        *("42", "--status", "running", "--node", "1", "--name", "DB Input", "--rows", "5000"),
        *("--total", "10000", "--unit", "rows", "--message", "Processing rows...", "--run", "2"),
    )
    assert subject == "tenant.pub.job.42.progress"
    assert event == {
        "nodeId": 1,
        "nodeName": "DB Input",
        "status": "running",
        "rowCount": 5000,
        "total": 10000,
        "unit": "rows",
        "message": "Processing rows...",
        "run": 2,
    }


async def test_a_job_s_end_goes_where_everything_goes(shared_nats: NatsServer) -> None:
    subject, event = await published(shared_nats, "42", "--status", "completed", "--name", "Nightly")
    assert subject == "tenant.pub.job.42.progress"
    assert event == {"status": "completed", "name": "Nightly"}


async def test_json_passes_through_and_options_are_put_over_it(shared_nats: NatsServer) -> None:
    _, event = await published(
        shared_nats, "42", "--json", '{"kind":"log","message":"ü","data":{"level":"warning"},"own":1}',
        "--message", "other",
    )  # fmt: skip
    assert event == {"kind": "log", "message": "other", "data": {"level": "warning"}, "own": 1}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["42"], "must say something"),
        (["42", "--status", "dreaming"], "is no status"),
        (["a.b", "--status", "running"], "job must be"),
        (["42", "--tenant", "*", "--status", "running"], "tenant must be"),
        (["42", "--json", "{"], "not JSON"),
        (["42", "--json", "[1]"], "must be a JSON object"),
        (["42", "--fraction", "2"], "fraction"),
        (["42", "--node", "1", "--rows", "many", "--status", "running"], "not a number"),
        (["42", "--kind", "dance", "--message", "x"], "unknown kind"),
        (["42", "--status", "running", "--nats-creds", "/nowhere"], "no such file"),
    ],
)
def test_what_is_no_event_is_told_before_anything_is_sent(arguments: list[str], told: str) -> None:
    ended = milepost("pub", "--tenant", "acme", *arguments, env={"NATS_URL": "nats://127.0.0.1:1"})
    assert ended.returncode == 2
    assert told in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_nats_away_is_told_in_one_line() -> None:
    ended = milepost("pub", "1", "--tenant", "a", "--status", "running", "--nats", "nats://u:pass@127.0.0.1:1")
    assert ended.returncode == 1
    assert "cannot be reached" in ended.stderr
    assert "NATS_URL" in ended.stderr
    assert "pass" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def walled() -> Iterator[NatsServer]:
    """A nats-server with the accounts of docker/nats.conf."""
    given = {"NATS_HUB_PASSWORD": '"hub-secret"', "NATS_ACME_PASSWORD": '"acme-secret"'}
    before = dict(os.environ)
    os.environ.update(given)
    try:
        with NatsServer(config=NATS_CONF) as server:
            yield server
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_a_wrong_password_is_told_as_such(walled: NatsServer) -> None:
    env = {"NATS_URL": walled.url, "NATS_USER": "acme", "NATS_PASSWORD": "wrong"}
    ended = milepost("pub", "1", "--tenant", "acme", "--status", "running", env=env)
    assert ended.returncode == 1
    assert "refused the credentials" in ended.stderr
    assert "wrong" not in ended.stderr


def test_another_tenant_s_job_is_refused_and_told(walled: NatsServer) -> None:
    env = {"NATS_URL": walled.url, "NATS_USER": "acme", "NATS_PASSWORD": "acme-secret"}
    ended = milepost("pub", "1", "--tenant", "globex", "--status", "running", env=env)
    assert ended.returncode == 1
    assert "permissions" in ended.stderr
    assert milepost("pub", "1", "--tenant", "acme", "--status", "running", env=env).returncode == 0
