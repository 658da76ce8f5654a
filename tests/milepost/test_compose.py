"""The compose file, the image and nats-server's accounts fit each other and the commands."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml
from milepost_bridge import Bridge, BridgeSettings
from milepost_bridge.streams import LOG
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import SecretStr

from milepost.nats_server import NatsServer, find_binary
from milepost.options import names
from milepost.serve import GROUPS
from milepost.worker import GROUPS as WORKER
from tests.bridge.recording_sink import RecordingSink
from tests.milepost.conftest import SECRET
from tests.milepost.console import environment, milepost, running
from tests.milepost.walls import CONF, PASSWORDS, hearing, passwords, user, walled_server
from tests.waiting import eventually_async

ROOT = Path(__file__).parents[2]

SERVICE_KEYS = {
    "build", "command", "depends_on", "environment", "healthcheck", "image", "ports", "restart",
    "stop_grace_period", "volumes",
}  # fmt: skip
"""What these services use, each a key of the compose specification."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_only_known_keys_are_used(compose: dict[str, Any]) -> None:
    assert set(compose) == {"name", "services", "volumes"}
    for service in compose["services"].values():
        assert set(service) <= SERVICE_KEYS
    health = {"test", "interval", "timeout", "retries", "disable"}
    assert all(set(service.get("healthcheck", {})) <= health for service in compose["services"].values())


def test_the_ports_are_where_clients_look(compose: dict[str, Any]) -> None:
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}
    assert ports == {
        "nats": ["4222:4222", "127.0.0.1:8222:8222"],
        "milepost": ["8080:8080", "8081:8080"],
        "worker": [],
        "demo": [],
    }


def test_whatever_is_depended_on_exists_and_says_when_it_is_healthy(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            checked = compose["services"][other].get("healthcheck") or "HEALTHCHECK" in dockerfile()
            assert checked


def test_files_and_volumes_that_are_named_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"]
        assert (ROOT / service.get("build", ".") / "Dockerfile").is_file()


def test_images_have_exact_versions(compose: dict[str, Any]) -> None:
    assert re.fullmatch(r"nats:\d+\.\d+\.\d+-alpine", compose["services"]["nats"]["image"])
    assert all(re.search(r":\d+\.\d+", line) for line in dockerfile().splitlines() if line.startswith("FROM"))


def test_the_server_s_options_are_nats_server_s_own(compose: dict[str, Any]) -> None:
    words = compose["services"]["nats"]["command"]
    told = subprocess.run([find_binary(), "--help"], capture_output=True, text=True, check=True)
    known = set(re.findall(r"--[a-z_]+", told.stdout + told.stderr))
    assert {word for word in words if word.startswith("--")} <= known
    assert words[0] == "nats-server"


def test_variables_are_options_of_what_is_run(compose: dict[str, Any]) -> None:
    known = {name.variable for model, group in GROUPS.items() for name in names(model, group).values()}
    assert set(compose["services"]["milepost"]["environment"]) <= known
    known = {name.variable for model, group in WORKER.items() for name in names(model, group).values()}
    assert set(compose["services"]["worker"]["environment"]) <= known | {"MILEPOST_WORKER_HEALTH_PORT"}
    reported = set(compose["services"]["demo"]["environment"])
    assert reported == {"NATS_URL", "NATS_USER", "NATS_PASSWORD", "MILEPOST_TENANT", "MILEPOST_JOB"}


def test_every_secret_is_asked_for_and_in_the_example(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    example = dict(
        line.split("=", 1)
        for line in (ROOT / "docker" / "env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert asked == set(example)
    assert len(example["MILEPOST_JWT_SECRET"]) >= 32
    assert set(re.findall(r"\$(NATS_\w+)", CONF.read_text())) == set(PASSWORDS) <= asked


def test_the_commands_parse(compose: dict[str, Any]) -> None:
    serve = compose["services"]["milepost"]["command"]
    assert serve[0] == "milepost"
    assert milepost(*serve[1:], "--help").returncode == 0
    worker = compose["services"]["worker"]["command"]
    assert milepost(*worker[1:], "--help").returncode == 0
    module, *rest = compose["services"]["demo"]["command"][2:]
    assert module == "milepost.pipeline"
    assert rest == ["--database", "/tmp/names.sqlite"]


def environment_of(service: dict[str, Any], **changed: str) -> dict[str, str]:
    """A service's environment as compose would fill it in, for processes of this machine."""
    values = {**PASSWORDS, "MILEPOST_JWT_SECRET": SECRET}
    plain = {name: value.strip('"') for name, value in values.items()}
    filled = {
        name: re.sub(r"\$\{(\w+):\?[^}]*\}", lambda match: plain[match[1]], value)
        for name, value in service["environment"].items()
    }
    return {**filled, **changed}


def test_its_services_run_by_hand_show_the_job_to_a_client(
    compose: dict[str, Any], walled: NatsServer, tmp_path: Path
) -> None:
    """The very commands and variables of the file, with this machine's addresses in place of compose's names."""
    (tmp_path / "small.py").write_text("name = other(name)\n")
    hub, job = compose["services"]["milepost"], compose["services"]["demo"]
    tenant = job["environment"]["MILEPOST_TENANT"]
    hub_env = environment_of(hub, NATS_URL=walled.url, MILEPOST_HOST="127.0.0.1", MILEPOST_PORT="0")
    with running(*hub["command"][1:], env=hub_env) as service:
        url = service.until("Milepost serves").split()[2]
        token = milepost("token", "--tenant", tenant, env=hub_env).stdout.strip()
        watch_env = {"MILEPOST_URL": url, "MILEPOST_TOKEN": token}
        service.until("connected to NATS for live events")
        with running("watch", job["environment"]["MILEPOST_JOB"], env=watch_env) as watching:
            watching.until("connected")
            done = subprocess.run(
                [sys.executable, *job["command"][1:-1], str(tmp_path / "names.sqlite"), "--root", str(tmp_path)],
                env=environment(environment_of(job, NATS_URL=walled.url)),
                check=False,
                timeout=60,
            )
            assert done.returncode == 0
            assert watching.end() == 0
            assert any("Load into SQLite: completed  3 rows" in line for line in watching.rest())


def test_its_worker_run_by_hand_runs_what_its_tenant_submits(compose: dict[str, Any], walled: NatsServer) -> None:
    """As the tenant's own user, whom the accounts let do that and no more; the image's health check finds it well."""
    hub, worker = compose["services"]["milepost"], compose["services"]["worker"]
    hub_env = environment_of(hub, NATS_URL=walled.url, MILEPOST_HOST="127.0.0.1", MILEPOST_PORT="0")
    with running(*hub["command"][1:], env=hub_env) as service:
        url = service.until("Milepost serves").split()[2]
        worker_env = environment_of(worker, NATS_URL=walled.url, MILEPOST_WORKER_HEALTH_PORT="0")
        with running(*worker["command"][1:], env=worker_env) as working:
            working.until("Milepost runs jobs")
            token = milepost("token", "--tenant", "acme", "--scope", "submit", env=hub_env).stdout.strip()
            env = {"MILEPOST_URL": url, "MILEPOST_TOKEN": token}
            done = milepost("submit", "names", '{"files": 20}', "--wait", env=env)
            assert done.returncode == 0, done.stdout + done.stderr
    assert worker["environment"]["MILEPOST_WORKER_HEALTH_PORT"] in dockerfile()


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


def test_the_image_is_built_in_two_stages_and_runs_as_nobody_in_particular() -> None:
    text = dockerfile()
    assert text.count("\nFROM ") == 2
    last = text.rsplit("\nFROM ", 1)[1]
    assert "\nUSER milepost" in last
    assert "/healthz" in last
    commands = re.findall(r"^CMD (\[.*\])$", last, re.MULTILINE)
    assert [shlex.join(json.loads(command)) for command in commands] == ["milepost serve --host 0.0.0.0"]


def test_everything_that_is_copied_into_the_image_exists_and_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile(), re.MULTILINE)
    sources = {word for line in copied for word in line.split()}
    assert sources == let_in
    assert all((ROOT / source).exists() for source in sources)


@pytest.fixture(scope="module")
def walled() -> Iterator[NatsServer]:
    with walled_server() as server:
        yield server


async def test_a_tenant_s_events_reach_the_hub(walled: NatsServer) -> None:
    async with user(walled, "hub") as hub, user(walled, "acme") as acme:
        heard = await hearing(hub.client, acme.client, "tenant.acme.job.*.>", "tenant.acme.job.1.progress")
        subjects = [f"tenant.acme.job.1.{leaf}" for leaf in ("progress", "end.1", "state.r1", "alive")]
        for subject in subjects:
            await acme.client.publish(subject, b"{}")
        got = [(await heard.next_msg(timeout=5)).subject for _ in subjects]
        assert got == subjects
        assert acme.complaints == []


async def test_a_tenant_cannot_publish_as_another(walled: NatsServer) -> None:
    async with user(walled, "hub") as hub, user(walled, "acme") as acme:
        heard = await hearing(hub.client, acme.client, "tenant.>", "tenant.acme.job.1.progress")
        for leaf in ("progress", "end.1", "state.r1", "alive"):
            await acme.client.publish(f"tenant.globex.job.1.{leaf}", b"{}")
        await acme.client.publish("tenant.acme.job.1.progress", b"{}")
        await acme.client.flush()
        assert (await heard.next_msg(timeout=5)).subject == "tenant.acme.job.1.progress"
        await eventually_async(lambda: len(acme.complaints) == 4)
        assert all("permissions violation" in complaint for complaint in acme.complaints)


async def test_a_tenant_hears_nothing_of_the_hub_s_account(walled: NatsServer) -> None:
    async with user(walled, "hub") as hub, user(walled, "acme") as acme:
        await acme.client.subscribe("tenant.>")
        await acme.client.subscribe("$JS.API.>")
        # the server checks subscriptions in its own time
        await eventually_async(lambda: len(acme.complaints) == 2)
        await hub.client.jetstream().account_info()
        with pytest.raises(nats.errors.Error):
            await acme.client.jetstream(timeout=0.5).account_info()


async def test_an_answer_cannot_be_sent_where_the_tenant_may_not_publish(walled: NatsServer) -> None:
    """The trap of one shared account: the acknowledgement goes to whatever reply the publisher named."""
    settings = BridgeSettings(user="hub", password=SecretStr("hub"))
    async with (
        Bridge(walled.url, RecordingSink(), settings=settings) as bridge,
        user(walled, "hub") as hub,
        user(walled, "acme") as acme,
    ):
        await eventually_async(lambda: bridge.up)
        assert bridge.log is not None
        await acme.client.publish("tenant.acme.job.reply.progress", b"{}", reply="tenant.globex.job.1.progress")
        await acme.client.flush()
        acknowledged = json.loads((await acme.client.request("tenant.acme.job.reply.progress", b"{}", timeout=5)).data)
        assert acknowledged["stream"] == LOG
        info = await hub.client.jetstream().stream_info(LOG, subjects_filter=">")
        assert info.state.subjects is not None
        assert info.state.subjects["tenant.acme.job.reply.progress"] == 2
        assert not [subject for subject in info.state.subjects if "globex" in subject]


async def test_the_hub_can_ask_a_tenant_s_job_to_stop(walled: NatsServer) -> None:
    async with user(walled, "hub") as hub, user(walled, "acme") as acme:

        async def answer(message: Msg) -> None:
            await message.respond(b'{"ok":true}')

        await acme.client.subscribe("tenant.acme.job.1.control", cb=answer)
        await acme.client.flush()
        assert await answered(hub.client, "tenant.acme.job.1.control") == b'{"ok":true}'


async def answered(client: Client, subject: str) -> bytes:
    """The answer to a request; asked again when nobody is there.

    nats-server 2.15.1 says so of a subscription just made in another account, 3 times of 200.
    """
    async with asyncio.timeout(10):
        while True:
            try:
                return (await client.request(subject, b'{"action":"cancel"}', timeout=5)).data
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.02)


async def test_the_hub_s_user_cannot_destroy_streams(walled: NatsServer) -> None:
    async with user(walled, "hub") as hub:
        await hub.client.jetstream().add_stream(name="KEEP", subjects=["keep"])
        with pytest.raises((nats.errors.Error, asyncio.TimeoutError)):
            await hub.client.jetstream(timeout=0.5).delete_stream("KEEP")
        assert "stream.delete" in hub.complaints[0].lower()


def with_tenant(conf: str, name: str) -> str:
    """The configuration with one more tenant, made as the comment at its top says."""
    start, end = conf.index("  ACME {"), conf.rindex("}")
    lines: list[str] = []
    for line in conf[:start].splitlines(keepends=True):
        own = line.lstrip().startswith("{service") and "acme" in line
        shared = line.replace("accounts: [ACME]", f"accounts: [ACME, {name.upper()}]")
        lines += [line, renamed(line, name)] if own else [shared]
    return "".join(lines) + conf[start:end] + renamed(conf[start:end], name) + conf[end:]


def renamed(conf: str, name: str) -> str:
    """Another tenant's name in ACME's place."""
    return conf.replace("ACME", name.upper()).replace("acme", name)


async def test_a_tenant_is_added_by_two_reloads_while_others_stay(tmp_path: Path) -> None:
    """One reload is not enough for nats-server 2.15.1: the new account's imports then lead nowhere."""
    conf = tmp_path / "nats.conf"
    conf.write_text(CONF.read_text())
    with passwords(NATS_GLOBEX_PASSWORD='"globex"'), NatsServer(config=conf) as server:
        async with user(server, "acme") as acme, user(server, "hub") as hub:
            heard = await hub.client.subscribe("tenant.>")
            records = await hub.client.subscribe("$KV.>")
            await hub.client.flush()
            conf.write_text(with_tenant(conf.read_text(), "globex"))
            for times in (1, 2):
                await reload(server, times)
            async with user(server, "globex") as globex:
                await globex.client.publish("tenant.globex.job.1.progress", b"{}")
                assert (await heard.next_msg(timeout=5)).subject == "tenant.globex.job.1.progress"
                await globex.client.publish("$KV.MILEPOST_JOBS.globex.1", b"{}")
                assert (await records.next_msg(timeout=5)).subject == "$KV.MILEPOST_JOBS.globex.1"
                await globex.client.publish("$KV.MILEPOST_JOBS.acme.1", b"{}")
                await eventually_async(lambda: len(globex.complaints) == 1)
            await acme.client.publish("tenant.acme.job.1.progress", b"{}")
            assert (await heard.next_msg(timeout=5)).subject == "tenant.acme.job.1.progress"
            assert acme.client.stats["reconnects"] == hub.client.stats["reconnects"] == 0


async def reload(server: NatsServer, times: int) -> None:
    """SIGHUP, and wait until its log says that it has read its configuration for the `times`-th time."""
    os.kill(server.pid, signal.SIGHUP)
    async with asyncio.timeout(10):
        while server.log_file.read_text().count("Reloaded server configuration") < times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
