"""Tenants are walls: whatever a client says, it neither receives, nor subscribes to, nor learns of another's job."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milepost_hub.token import issue

from tests.hub.live_hub import LiveHub, a_client, a_watcher, an_event, live_hub
from tests.hub.raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, frame
from tests.hub.signers import OTHER_SECRET, SECRET

pytestmark = pytest.mark.asyncio(loop_scope="module")

THEIR_JOBS = ["1", "42", "night-run"]
UNWATCHED = ["2", "day-run"]
"""Jobs of theirs that run while none of their own clients watches."""
SECRET_WORD = "between globex and its clients"
THEIR_EVENT = json.dumps({"message": SECRET_WORD, "nodeId": 1}).encode()
THEIR_SUMMARY = json.dumps({"jobId": 1, "name": SECRET_WORD, "status": "running"}).encode()

job_ids = st.one_of(
    st.sampled_from(
        [
            1,
            42,
            "1",
            "42",
            "night-run",
            2,
            "2",
            "day-run",
            "*",
            ">",
            "",
            "globex",
            "globex.1",
            "globex/1",
            "../globex/1",
        ]
    ),
    st.sampled_from(
        ["tenant.globex.job.1.progress", "globex,1", ["globex", "1"], ["globex", "*"], {"tenant": "globex"}]
    ),
    st.integers(-5, 60),
    st.none() | st.booleans() | st.floats(allow_nan=False),
    st.text(max_size=12),
)
tokens = st.sampled_from(
    [
        "",
        "rubbish",
        issue(OTHER_SECRET, "globex"),
        issue(SECRET, "acme", jobs=THEIR_JOBS),
        issue(SECRET, "acme", scopes=["submit"]),
        issue(SECRET, "acme"),
    ]
)
extras = st.dictionaries(
    st.sampled_from(["tenant", "tenantId", "after", "mode", "id", "sub", "topic"]),
    st.sampled_from(["globex", "start", "latest", "all", 7, None, "*"]),
    max_size=3,
)
actions = st.one_of(
    st.builds(
        lambda action, job, more: json.dumps({**more, "action": action, "jobId": job}).encode(),
        st.sampled_from(["subscribe", "subscribe", "subscribe", "unsubscribe", "publish", "snapshot"]),
        job_ids,
        extras,
    ),
    st.builds(lambda token: json.dumps({"action": "auth", "token": token}).encode(), tokens),
)
frames = st.one_of(
    actions.map(frame),
    st.binary(max_size=40).map(lambda data: frame(data, BINARY)),
    st.binary(max_size=40).map(frame),
)


async def told(client: RawClient) -> list[bytes]:
    """Everything the hub has sent so far, in order: every text, and how it closed if it did."""
    await client.write(frame(b"so far", PING))
    got: list[bytes] = []
    while True:
        try:
            received = await client.frame()
        except (EOFError, ConnectionResetError):
            return got
        if received.opcode in {TEXT, CLOSE}:
            got.append(received.data)
        if received.opcode == CLOSE or received == (True, PONG, b"so far"):
            return got


async def converse(hub: LiveHub, said: list[bytes], them: RawClient | None) -> list[bytes]:
    """What a client of acme is told when it says this, while globex is at work or is not."""
    heard = []
    async with await a_client(hub) as client:
        for words in said:
            try:
                await client.write(words)
                heard += await told(client)
            except (ConnectionResetError, BrokenPipeError):
                break
            if them is not None:
                await work(hub, them)
        # A closing frame may stand behind the pong of a ping that was read together with what broke the standard.
        heard += await told_if_open(client)
    return heard


def timeless(heard: list[bytes]) -> list[bytes]:
    """What was told, but for the hub's clock."""
    return [re.sub(rb'"at":"[^"]*"', b"", words) for words in heard]


async def told_if_open(client: RawClient) -> list[bytes]:
    try:
        return await told(client)
    except (ConnectionResetError, BrokenPipeError):
        return []


async def work(hub: LiveHub, them: RawClient) -> None:
    """An event and a summary of every job of globex, all of which its own client receives."""
    jobs = UNWATCHED + THEIR_JOBS
    for job in jobs:
        hub.deliver("globex", job, an_event(THEIR_EVENT))
        hub.deliver_summary("globex", job, THEIR_SUMMARY)
    kinds = [(await them.message())["type"] for _ in THEIR_JOBS + jobs]
    assert sorted(kinds) == ["job.progress"] * len(THEIR_JOBS) + ["job.summary"] * len(jobs)


async def their_client(hub: LiveHub) -> RawClient:
    them = await a_watcher(hub, "*", "globex")
    for job in THEIR_JOBS:
        await them.subscribe(job)
    return them


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said=st.lists(frames, max_size=6))
async def test_nothing_a_client_says_gets_it_anything_of_another_tenant(module_hub: LiveHub, said: list[bytes]) -> None:
    """The same job ids on both sides; and it is told word for word the same as if the other tenant were not there."""
    async with await their_client(module_hub) as them:
        with_them = await converse(module_hub, said, them)
    await module_hub.emptied()
    assert not any(SECRET_WORD.encode() in words for words in with_them)
    assert timeless(with_them) == timeless(await converse(module_hub, said, None))
    await module_hub.emptied()


async def answers(client: RawClient, job: int | str) -> list[dict[str, Any]]:
    """What is answered to every action on this job, with the job's own name taken out."""
    await client.send({"action": "subscribe", "jobId": job, "id": "s"})
    await client.send({"action": "subscribe", "jobId": job, "after": "start", "id": "a"})
    await client.send({"action": "unsubscribe", "jobId": job, "id": "u"})
    got = [await client.message()]
    while got[-1].get("id") != "u":
        got.append(await client.message())
    return [json.loads(json.dumps(message).replace(json.dumps(job), "null")) for message in got]


async def test_an_existing_and_a_missing_job_are_answered_alike(module_hub: LiveHub) -> None:
    """Of another tenant, of one's own, and of those that the token does not list."""
    async with await their_client(module_hub), await a_watcher(module_hub, 7) as own:
        module_hub.deliver("acme", "7", an_event(b'{"status":"running"}'))
        await own.message()
        async with await a_client(module_hub) as client:
            assert await answers(client, "night-run") == await answers(client, "nobody-knows")
            assert await answers(client, 7) == await answers(client, 8)
        token = issue(SECRET, "acme", jobs=[1])
        async with await RawClient.connect(module_hub.port, token) as client:
            assert await answers(client, 7) == await answers(client, "nobody-knows")


async def test_the_same_job_id_under_two_tenants_is_two_jobs(module_hub: LiveHub) -> None:
    async with await a_watcher(module_hub, 1) as ours, await a_watcher(module_hub, 1, "globex") as theirs:
        for number in range(50):
            module_hub.deliver("globex", "1", an_event(THEIR_EVENT))
            module_hub.deliver("initech", "1", an_event(THEIR_EVENT))  # where nobody watches
            module_hub.deliver("acme", "1", an_event(b'{"message":"%d"}' % number))
        assert [(await ours.message())["payload"]["message"] for _ in range(50)] == [str(n) for n in range(50)]
        assert [(await theirs.message())["payload"]["message"] for _ in range(50)] == [SECRET_WORD] * 50


async def test_all_jobs_are_all_of_ones_own_tenant(module_hub: LiveHub) -> None:
    async with await a_watcher(module_hub, "*") as ours, await a_watcher(module_hub, "*", "globex") as theirs:
        module_hub.deliver_summary("globex", "1", THEIR_SUMMARY)
        module_hub.deliver_summary("acme", "2", b'{"jobId":2,"status":"running"}')
        assert await ours.message() == {"type": "job.summary", "jobId": 2, "status": "running"}
        assert (await theirs.message())["name"] == SECRET_WORD


async def test_a_token_with_a_list_is_good_for_these_jobs_alone(module_hub: LiveHub) -> None:
    """By number or by name, and `*` means those of the list."""
    token = issue(SECRET, "acme", jobs=[1, "night-run"])
    async with await RawClient.connect(module_hub.port, token) as client:
        for job in (1, "1", "night-run", "*"):
            assert (await client.subscribe(job))["type"] == "subscribed", job
        for job in (2, "day-run", "night", "NIGHT-RUN", "01"):
            assert (await client.subscribe(job))["code"] == "forbidden", job
        for job in ("1", "2", "night-run", "day-run"):
            module_hub.deliver("acme", job, an_event(b'{"message":"%b"}' % job.encode()))
            module_hub.deliver_summary("acme", job, b'{"jobId":"%b"}' % job.encode())
        heard = [json.loads(text) for text in await told_after_flush(module_hub, client)]
        assert sorted((message["type"], str(message["jobId"])) for message in heard) == [
            ("job.progress", "1"),
            ("job.progress", "night-run"),
            ("job.summary", "1"),
            ("job.summary", "night-run"),
        ]


async def test_an_empty_list_is_good_for_nothing(module_hub: LiveHub) -> None:
    async with await RawClient.connect(module_hub.port, issue(SECRET, "acme", jobs=[])) as client:
        assert (await client.subscribe(1))["code"] == "forbidden"
        assert (await client.subscribe("*"))["type"] == "subscribed"
        module_hub.deliver_summary("acme", "1", b'{"jobId":1}')
        assert await told_after_flush(module_hub, client) == []


async def test_a_token_without_the_watch_scope_watches_nothing(module_hub: LiveHub) -> None:
    async with await RawClient.connect(module_hub.port, issue(SECRET, "acme", scopes=["submit"])) as client:
        for job in (1, "*"):
            assert (await client.subscribe(job))["code"] == "forbidden"
        assert not module_hub.wants("acme", "1")


async def test_a_narrower_token_takes_away_what_it_does_not_list(module_hub: LiveHub) -> None:
    """At once, also from a subscription to all jobs."""
    async with await a_watcher(module_hub, 1) as client:
        await client.subscribe(2)
        await client.subscribe("*")
        await client.send({"action": "auth", "token": issue(SECRET, "acme", jobs=[2])})
        assert (await client.message())["type"] == "authenticated"
        for job in ("1", "2"):
            module_hub.deliver("acme", job, an_event(b"{}"))
            module_hub.deliver_summary("acme", job, b'{"jobId":%b}' % job.encode())
        heard = [json.loads(text) for text in await told_after_flush(module_hub, client)]
        assert [message["code"] for message in heard if message["type"] == "error"] == ["forbidden"]
        assert {message["jobId"] for message in heard if message["type"].startswith("job.")} == {2}


async def told_after_flush(hub: LiveHub, client: RawClient) -> list[bytes]:
    """What a client is told of all that was delivered before."""
    hub._fanout.flush()
    return await told(client)


async def test_the_wall_stands_for_tenants_that_resemble_each_other() -> None:
    """One name within the other, one that looks like a job, and one in capitals."""
    tenants = ["a", "a-b", "A", "1", "acme", "job"]
    async with live_hub() as hub:
        clients = {tenant: await a_watcher(hub, "1", tenant) for tenant in tenants}
        for tenant in tenants:
            hub.deliver(tenant, "1", an_event(b'{"message":"%b"}' % tenant.encode()))
            hub.deliver_summary(tenant, "1", b'{"jobId":1}')
        for tenant, client in clients.items():
            heard = [json.loads(text) for text in await told_after_flush(hub, client)]
            assert [message["payload"]["message"] for message in heard] == [tenant]
            client.close()
