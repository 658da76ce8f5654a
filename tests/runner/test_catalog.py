"""What workers tell of their handlers is what submissions are held against; what makes no sense is counted."""

from __future__ import annotations

import json

import pytest
from milepost_runner import subject
from milepost_runner.catalog import Catalog, Entry
from milepost_runner.errors import BadPayload, UnknownHandler
from milepost_runner.handler import Handler
from milepost_runner.registry import Registry

from milepost.nats_server import NatsServer
from tests.runner.handled import HANDLERS, anything, build, jobs_on, looking_at, own_tenant, queued_of


async def test_what_a_worker_told_is_found_by_every_tenant(nats_server: NatsServer) -> None:
    """Its queue and its schema: a bad payload is refused with reasons by whoever has no such handler."""
    async with looking_at(nats_server.url) as api, jobs_on(nats_server.url, Registry()) as jobs:
        await Catalog(api).tell(HANDLERS, None)
        entry = await Catalog(api).find(own_tenant(), "build")
        assert (entry.name, entry.queue) == ("build", "slow")
        tenant = own_tenant()
        with pytest.raises(BadPayload, match="the payload of build does not fit: rows: 0 is less than") as refused:
            await jobs.submissions.submit(tenant, "build", {"rows": 0})
        assert [reason["loc"] for reason in refused.value.reasons] == [["rows"]]
        job = (await jobs.submissions.submit(tenant, "build", {"rows": 1})).job
        assert await queued_of(api, tenant) == [job]


async def test_a_tenants_own_comes_before_everybodys(nats_server: NatsServer) -> None:
    """And is nobody else's."""
    one, other = own_tenant(), own_tenant()
    async with looking_at(nats_server.url) as api, jobs_on(nats_server.url):
        await Catalog(api).tell([Handler("build", build)], None)
        await Catalog(api).tell([Handler("build", anything, queue="own"), Handler("more", anything)], one)
        assert (await Catalog(api).find(one, "build")).queue == "own"
        assert (await Catalog(api).find(other, "build")).queue == "default"
        with pytest.raises(UnknownHandler, match="there are build, more"):
            await Catalog(api).find(one, "nobody")
        with pytest.raises(UnknownHandler, match=r"there are build$"):
            await Catalog(api).find(other, "more")


async def test_that_there_are_none_is_told(nats_server: NatsServer) -> None:
    async with looking_at(nats_server.url) as api, jobs_on(nats_server.url):
        with pytest.raises(UnknownHandler, match="there are none at all"):
            await Catalog(api).find(own_tenant(), "build")


async def test_the_newest_word_counts(nats_server: NatsServer) -> None:
    """For whoever asks for the first time; an answer is good for some seconds."""
    async with looking_at(nats_server.url) as api, jobs_on(nats_server.url):
        early = Catalog(api)
        await early.tell([Handler("build", build)], None)
        assert (await early.find("acme", "build")).queue == "default"
        await early.tell([Handler("build", build, queue="slow")], None)
        assert (await early.find("acme", "build")).queue == "default"
        assert (await Catalog(api).find("acme", "build")).queue == "slow"


ROTTEN = [
    b"",
    b"null",
    b"[" * 10_000,
    b'{"name":"build","queue":"a.b","payload":{}}',
    b'{"name":"build","queue":"*","payload":{}}',
    b'{"name":"build","queue":"x y\\r\\nPUB evil 0","payload":{}}',
    b'{"name":"build","queue":"q","payload":[]}',
]


@pytest.mark.parametrize("rotten", ROTTEN, ids=lambda rotten: repr(rotten[:45]))
async def test_an_entry_that_is_none_is_counted_and_passed_over(nats_server: NatsServer, rotten: bytes) -> None:
    """A tenant's own may hide nothing: everybody's is found behind it."""
    async with looking_at(nats_server.url) as api, jobs_on(nats_server.url):
        await Catalog(api).tell([Handler("build", build)], None)
        await api.publish(subject.handler("build", "acme"), rotten)
        catalog = Catalog(api)
        assert (await catalog.find("acme", "build")).queue == "default"
        assert catalog.unreadable == 1


async def test_a_tenants_schema_cannot_hold_up_whoever_takes_its_jobs(nats_server: NatsServer) -> None:
    """A pattern that takes for ever is left to the tenant's own worker."""
    tenant = own_tenant()
    hostile = {"name": "evil", "queue": "default", "payload": {"type": "string", "pattern": "^(a+)+$"}}
    async with looking_at(nats_server.url) as api, jobs_on(nats_server.url, Registry()) as jobs:
        await api.publish(subject.handler("evil", tenant), json.dumps(hostile).encode())
        job = (await jobs.submissions.submit(tenant, "evil", "a" * 60 + "!")).job
        assert await queued_of(api, tenant) == [job]
        with pytest.raises(BadPayload):
            await jobs.submissions.submit(tenant, "evil", 5)


async def test_a_handler_that_takes_anything_says_so() -> None:
    entry = Entry.of(Handler("anything", anything))
    assert entry.payload == {}
    await entry.check({"whatever": [1]})
