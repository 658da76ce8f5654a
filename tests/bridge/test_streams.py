"""Both streams are there and can serve, or it is told in words why not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import (
    LOG,
    STATE,
    Streams,
    ensure,
    log_config,
    state_config,
)
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import NoJetStream, Refused, ServerTooOld, StreamUnfit
from milepost_reporter.jetstream.stream import OLDEST_SERVER, check_server

from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api
from tests.waiting import eventually_async

DEFAULTS = BridgeSettings()
UPDATE = BridgeSettings(log_update=True)


async def config_of(api: Api, stream: str) -> dict[str, Any]:
    config = (await api.request(f"$JS.API.STREAM.INFO.{stream}"))["config"]
    assert isinstance(config, dict)
    return config


async def test_they_are_made_as_they_should_be(nats_server: NatsServer) -> None:
    """And found so the next time, also after a restart of the server."""
    async with live_api(nats_server.url) as api:
        first = await ensure(api, DEFAULTS)
        assert first.differences == []
        assert first.log_created.endswith("Z")
        assert log_config(DEFAULTS).items() <= (await config_of(api, LOG)).items()
        assert state_config(DEFAULTS).items() <= (await config_of(api, STATE)).items()
        nats_server.restart()
        await eventually_async(lambda: api.connections == 2 and api.up)
        assert await ensure(api, DEFAULTS) == first


async def test_many_at_once_all_succeed(nats_server: NatsServer) -> None:
    """Whoever comes second finds what the first has made."""
    async with live_api(nats_server.url) as one, live_api(nats_server.url) as other:
        made = await asyncio.gather(*(ensure(api, DEFAULTS) for api in (one, other) * 5))
        assert len({streams.log_created for streams in made}) == 1
        assert all(streams.differences == [] for streams in made)


async def test_many_of_different_minds_all_succeed(nats_server: NatsServer) -> None:
    """One of them wins, and the others are told what differs."""
    async with live_api(nats_server.url) as one, live_api(nats_server.url) as other:
        made = await asyncio.gather(
            ensure(one, DEFAULTS), ensure(other, BridgeSettings(log_events_per_job=5, log_max_age=60))
        )
        assert made[0].log_created == made[1].log_created
        assert made[0].differences or made[1].differences


async def test_what_is_stored_is_republished_and_bounded(nats_server: NatsServer) -> None:
    """Under its own subject behind `live.`; records are not, and only the last of each is kept."""
    heard: list[bytes] = []
    async with live_api(nats_server.url) as api:
        await ensure(api, BridgeSettings(log_events_per_job=3))
        api._on_heard = lambda subject, payload, headers, reply: heard.append(subject)
        waiting = api._connection.want("live.>")
        if waiting is not None:
            await waiting
        for number in range(5):
            await api.publish("tenant.acme.job.1.state.r", b"%d" % number)
            await api.publish("tenant.acme.job.1.progress", b"%d" % number)
        await api.publish("tenant.acme.job.1.end.1", b"end")
        await eventually_async(lambda: len(heard) == 6)
        assert heard == [b"live.tenant.acme.job.1.progress"] * 5 + [b"live.tenant.acme.job.1.end.1"]
        kept = await api.direct_get(LOG, seq=1, next_by_subj="tenant.acme.job.1.>", batch=10)
        assert [message.payload for message in kept.messages] == [b"2", b"3", b"4", b"end"]
        kept = await api.direct_get(STATE, seq=1, next_by_subj="tenant.acme.job.1.>", batch=10)
        assert [message.payload for message in kept.messages] == [b"4"]


async def test_no_header_of_a_tenants_deletes_or_outlives(nats_server: NatsServer) -> None:
    """Rollup and a life of its own are refused, and nothing goes."""
    async with live_api(nats_server.url) as api:
        await ensure(api, DEFAULTS)
        await api.publish("tenant.a.job.1.progress", b"kept")
        for header, value in (("Rollup", "all"), ("Rollup", "sub"), ("TTL", "never"), ("TTL", "1s")):
            with pytest.raises(Refused, match=r"rollup not permitted|per-message TTL is disabled"):
                await api.publish("tenant.b.job.1.progress", b"", {f"Nats-{header}": value})
        kept = await api.direct_get(LOG, seq=1, next_by_subj="tenant.*.job.*.progress", batch=10)
        assert [message.payload for message in kept.messages] == [b"kept"]


async def test_what_differs_is_told_and_left(nats_server: NatsServer) -> None:
    """Field, what it is, what it should be: somebody may have had reasons."""
    async with live_api(nats_server.url) as api:
        await ensure(api, DEFAULTS)
        other = {"log_max_age": 60, "log_events_per_job": 7, "log_max_bytes": 0}
        differences = (await ensure(api, BridgeSettings.model_validate(other))).differences
        assert differences == [
            "MILEPOST_LOG: max_msgs_per_subject is 10,000, should be 7",
            "MILEPOST_LOG: max_age is 604800 s, should be 60 s",
            "MILEPOST_LOG: max_bytes is 1,073,741,824, should be -1",
            "MILEPOST_LOG: duplicate_window is 120 s, should be 60 s",
            "MILEPOST_STATE: max_age is 604800 s, should be 60 s",
            "MILEPOST_STATE: max_bytes is 1,073,741,824, should be -1",
            "MILEPOST_STATE: duplicate_window is 120 s, should be 60 s",
        ]
        assert (await config_of(api, LOG))["max_msgs_per_subject"] == 10_000
        updated = await ensure(api, BridgeSettings.model_validate(other | {"log_update": True}))
        assert updated.differences == []
        assert (await config_of(api, LOG))["max_msgs_per_subject"] == 7


async def test_what_is_neither_ours_nor_harmful_is_left_alone(nats_server: NatsServer) -> None:
    """A description, a compression: an update keeps them."""
    async with live_api(nats_server.url) as api:
        own = {"description": "ours", "compression": "s2"}
        await remade(api, {**log_config(DEFAULTS), **own, "max_msgs_per_subject": 5})
        assert (await ensure(api, UPDATE)).differences == []
        config = await config_of(api, LOG)
        assert own.items() <= config.items()
        assert config["max_msgs_per_subject"] == 10_000


async def remade(api: Api, config: dict[str, Any]) -> None:
    """The stream as somebody else has made it."""
    await api.request(f"$JS.API.STREAM.CREATE.{config['name']}", config)


UNFIT: list[tuple[dict[str, Any], str, bool]] = [
    ({"allow_rollup_hdrs": True, "deny_purge": False}, "allow_rollup_hdrs is on, should be off", True),
    ({"allow_msg_ttl": True}, "allow_msg_ttl is on, should be off", False),
    ({"allow_direct": False}, "allow_direct is off, should be on", True),
    ({"republish": None}, "republish is off, should be > to live.>", True),
    ({"republish": {"src": ">", "dest": "x.>"}}, "republish is > to x.>, should be > to live.>", True),
    (
        {"republish": {"src": ">", "dest": "live.>", "headers_only": True}},
        "republish is > to live.> without payloads",
        True,
    ),
    ({"storage": "memory"}, "storage is memory, should be file", False),
    ({"subjects": ["tenant.*.job.*.progress"]}, "subjects is tenant.*.job.*.progress, should be", True),
    ({"no_ack": True}, "no_ack is on, should be off", True),
    ({"retention": "interest"}, "retention is interest, should be limits", True),
]


@pytest.mark.parametrize(("change", "told", "mendable"), UNFIT, ids=lambda value: str(value)[:40])
async def test_a_stream_that_cannot_serve_is_not_used(
    nats_server: NatsServer, change: dict[str, Any], told: str, mendable: bool
) -> None:
    """It says what is wrong; `log_update` mends it where NATS allows, and says so where it does not."""
    async with live_api(nats_server.url) as api:
        await remade(api, {**log_config(DEFAULTS), **change})
        with pytest.raises(StreamUnfit) as unfit:
            await ensure(api, DEFAULTS)
        assert told in str(unfit.value)
        assert "start once with log_update" in str(unfit.value)
        if mendable:
            assert (await ensure(api, UPDATE)).differences == []
            return
        with pytest.raises(StreamUnfit) as unfit:
            await ensure(api, UPDATE)
        assert "NATS does not change it" in str(unfit.value)
        assert f"nats stream rm {LOG}" in str(unfit.value)


async def test_a_sealed_stream_cannot_serve(nats_server: NatsServer) -> None:
    async with live_api(nats_server.url) as api:
        config = {**log_config(DEFAULTS), "deny_delete": False, "deny_purge": False}
        await remade(api, config)
        await api.request(f"$JS.API.STREAM.UPDATE.{LOG}", {**config, "sealed": True})
        with pytest.raises(StreamUnfit, match="sealed is on, should be off: it takes no events"):
            await ensure(api, DEFAULTS)


async def test_a_mirror_cannot_serve(nats_server: NatsServer) -> None:
    """A stream of the same name that copies another."""
    async with live_api(nats_server.url) as api:
        await remade(api, {"name": "OTHER", "subjects": ["x"]})
        await remade(api, {"name": STATE, "mirror": {"name": "OTHER"}})
        with pytest.raises(StreamUnfit, match="MILEPOST_STATE: mirror is"):
            await ensure(api, DEFAULTS)


async def test_a_stream_in_the_way_is_named(nats_server: NatsServer) -> None:
    async with live_api(nats_server.url) as api:
        await remade(api, {"name": "ELSEWHERE", "subjects": ["tenant.acme.>"]})
        with pytest.raises(StreamUnfit, match="taken by ELSEWHERE"):
            await ensure(api, DEFAULTS)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"log_max_bytes": 10**15}, "set log_max_bytes to what the server can spare"),
        ({"log_replicas": 3}, "log_replicas asks for 3 servers"),
    ],
)
async def test_what_the_server_cannot_give_is_told_with_the_setting(
    nats_server: NatsServer, settings: dict[str, Any], told: str
) -> None:
    async with live_api(nats_server.url) as api:
        with pytest.raises(StreamUnfit, match=told):
            await ensure(api, BridgeSettings.model_validate(settings))


async def test_a_server_without_jetstream_is_told_apart(tmp_path: Path) -> None:
    """From one whose account has none: what to change differs."""
    with NatsServer(jetstream=False) as server:
        async with live_api(server.url) as api:
            with pytest.raises(NoJetStream, match="--jetstream"):
                await ensure(api, DEFAULTS)
    config = tmp_path / "accounts.conf"
    config.write_text("accounts { A { users: [{user: a, password: b}] }, B { jetstream: enabled } }\n")
    with NatsServer(config=config) as server:
        async with live_api(server.url, user="a", password="b") as api:
            with pytest.raises(NoJetStream, match="account"):
                await ensure(api, DEFAULTS)


async def test_jetstream_may_come_later(nats_server: NatsServer, tmp_path: Path) -> None:
    """The same server, started again with it."""
    with NatsServer(jetstream=False) as server:
        async with live_api(server.url) as api:
            with pytest.raises(NoJetStream):
                await ensure(api, DEFAULTS)
            server.stop()
            with NatsServer(port=server.port, store_dir=tmp_path):
                await eventually_async(lambda: api.connections == 2 and api.up)
                assert isinstance(await ensure(api, DEFAULTS), Streams)


@pytest.mark.parametrize("version", ["2.10.26", "2.9.10", "1.4.1", "2.10.0-beta.1"])
def test_an_older_server_is_told_what_is_needed(version: str) -> None:
    """What it is, and what it should be."""
    oldest = ".".join(map(str, OLDEST_SERVER))
    with pytest.raises(ServerTooOld, match=rf"this nats-server is {version}, and the log needs {oldest} or newer"):
        check_server({"version": version})


@pytest.mark.parametrize("version", [".".join(map(str, OLDEST_SERVER)), "2.15.1", "v2.14.0-RC.1", "3.0.0", "dev", ""])
def test_a_newer_server_and_one_that_does_not_say_are_taken(version: str) -> None:
    check_server({"version": version})
    check_server({})
