"""Queue, store and catalog are there and can serve, or it is told in words why not."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
import pytest
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import NoJetStream, Refused, StreamUnfit
from milepost_runner import subject
from milepost_runner.settings import RunnerSettings
from milepost_runner.streams import ensure, ensure_consumer, handlers_config, jobs_config, work_config
from milepost_runner.subject import HANDLERS, JOBS, WORK, QueueName, bucket_stream

from milepost.nats_server import NatsServer
from tests.bridge.live_api import live_api

DEFAULTS = RunnerSettings()


async def config_of(api: Api, stream: str) -> dict[str, Any]:
    config = (await api.request(f"$JS.API.STREAM.INFO.{stream}"))["config"]
    assert isinstance(config, dict)
    return config


async def test_they_are_made_as_they_should_be(nats_server: NatsServer) -> None:
    """By many at once, too, and found so the next time."""
    async with live_api(nats_server.url) as one, live_api(nats_server.url) as other:
        assert await asyncio.gather(*(ensure(api, DEFAULTS) for api in (one, other) * 4)) == [[]] * 8
        for wanted in (work_config(DEFAULTS), jobs_config(DEFAULTS), handlers_config(DEFAULTS)):
            found = await config_of(one, wanted["name"])
            assert {field: found.get(field) for field in wanted} == wanted


async def test_a_bucket_as_nats_py_makes_it_is_refused_in_words(nats_server: NatsServer) -> None:
    """It takes rollups: with one header, any tenant could empty it. What to do is said."""
    client = await nats.connect(nats_server.url)
    await client.jetstream().create_key_value(bucket=JOBS)
    await client.close()
    async with live_api(nats_server.url) as api:
        with pytest.raises(StreamUnfit) as unfit:
            await ensure(api, DEFAULTS)
        assert f"{bucket_stream(JOBS)}: allow_rollup_hdrs is on, should be off" in str(unfit.value)
        assert "with one header" in str(unfit.value)
        assert "start once with update" in str(unfit.value)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"Nats-Rollup": "all"}, "rollup not permitted"),
        ({"Nats-Rollup": "sub"}, "rollup not permitted"),
        ({"Nats-TTL": "1s"}, "per-message TTL is disabled"),
        ({"Nats-TTL": "never"}, "per-message TTL is disabled"),
    ],
    ids=str,
)
async def test_no_header_of_a_tenants_wipes_or_outlives(
    nats_server: NatsServer, header: dict[str, str], told: str
) -> None:
    """It is refused in words, and what was stored stays."""
    async with live_api(nats_server.url) as api:
        await ensure(api, DEFAULTS)
        places = {
            WORK: subject.work("acme", "default", "1"),
            bucket_stream(JOBS): subject.record("acme", "1"),
            bucket_stream(HANDLERS): subject.handler("build", "acme"),
        }
        for stream, place in places.items():
            await api.publish(place, b"kept")
            with pytest.raises(Refused, match=told):
                await api.publish(f"{place}x", b"", header)
            stored = await api.last(stream, place)
            assert stored is not None
            assert stored.payload == b"kept"
            assert await api.last(stream, f"{place}x") is None


async def test_what_differs_is_told_and_changed_when_that_is_asked_for(nats_server: NatsServer) -> None:
    other = {"queue_max_bytes": 10**6, "store_max_age": 7_200}
    async with live_api(nats_server.url) as api:
        await ensure(api, DEFAULTS)
        differences = await ensure(api, RunnerSettings.model_validate(other))
        assert differences == [
            "MILEPOST_WORK: max_bytes is 268,435,456, should be 1,000,000",
            "KV_MILEPOST_JOBS: max_age is 604800 s, should be 7200 s",
        ]
        assert await ensure(api, RunnerSettings.model_validate(other | {"update": True})) == []
        assert (await config_of(api, WORK))["max_bytes"] == 10**6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"retention": "limits"}, "retention is limits, should be workqueue"),
        ({"storage": "memory"}, "storage is memory, should be file"),
        ({"allow_direct": False}, "allow_direct is off, should be on"),
        ({"subjects": ["tenant.*.work.*.*", "more"]}, r"subjects is .*more.*, should be tenant"),
    ],
    ids=str,
)
async def test_a_queue_that_cannot_serve_is_not_used(
    nats_server: NatsServer, change: dict[str, Any], told: str
) -> None:
    async with live_api(nats_server.url) as api:
        await api.request(f"$JS.API.STREAM.CREATE.{WORK}", {**work_config(DEFAULTS), **change})
        with pytest.raises(StreamUnfit, match=told):
            await ensure(api, DEFAULTS)


async def test_what_the_server_cannot_give_is_told_with_the_setting(nats_server: NatsServer) -> None:
    async with live_api(nats_server.url) as api:
        with pytest.raises(StreamUnfit, match="Give queue_max_bytes and store_max_bytes what the server can spare"):
            await ensure(api, RunnerSettings(queue_max_bytes=10**15))
        with pytest.raises(StreamUnfit, match="replicas asks for 3 servers"):
            await ensure(api, RunnerSettings(replicas=3))


async def test_a_server_without_jetstream_is_told_apart() -> None:
    with NatsServer(jetstream=False) as server:
        async with live_api(server.url) as api:
            with pytest.raises(NoJetStream, match="--jetstream"):
                await ensure(api, DEFAULTS)


async def test_a_queues_consumer_has_the_tenants_limits(nats_server: NatsServer) -> None:
    """And is changed to other settings by whoever comes with them."""
    async with live_api(nats_server.url) as api:
        await ensure(api, DEFAULTS)
        for settings in (DEFAULTS, RunnerSettings(tenant_limit=3, claim=5)):
            await ensure_consumer(api, settings, QueueName("acme", "slow"))
            info = await api.request(f"$JS.API.CONSUMER.INFO.{WORK}.acme@slow")
            config = info["config"]
            assert config["filter_subject"] == "tenant.acme.work.slow.*"
            assert (config["max_ack_pending"], config["ack_wait"]) == (settings.tenant_limit, settings.claim * 10**9)
            assert config["max_deliver"] == -1
