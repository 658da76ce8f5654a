"""A job's events as server-sent events: resumed by their ids, ended with the job, and bounded like any client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.delivery import Delivery, server_sent
from milepost_hub.frame import text_frame
from milepost_hub.token import issue

from tests.hub.live_hub import LiveHub, a_client, a_watcher, live_hub, logged_hub
from tests.hub.memory_log import MemoryLog
from tests.hub.raw_client import RawClient
from tests.hub.signers import SECRET
from tests.hub.stream_page import Page, Reader
from tests.waiting import eventually_async

JOB = ("acme", "1")


@contextlib.asynccontextmanager
async def opened(
    hub: LiveHub,
    headers: Mapping[str, str] | None = None,
    *,
    token: str | None = None,
    job: str = "1",
    **query: str,
) -> AsyncIterator[Page]:
    query = {"token": token or issue(SECRET, "acme"), **query}
    async with (
        httpx.AsyncClient(base_url=hub.url, trust_env=False) as http,
        http.stream("GET", f"/api/jobs/{job}/stream", params=query, headers=headers) as response,
    ):
        yield Page(response)


def fill(log: MemoryLog, count: int, padding: str = "") -> list[str]:
    return [log.store(*JOB, {"message": padding, "n": number}).cursor or "" for number in range(count)]


async def test_a_stream_begins_with_a_snapshot_and_goes_on_until_the_end() -> None:
    """Every message as on the WebSocket, its cursor the id, its kind the name; the end closes it."""
    async with logged_hub() as (hub, log):
        log.store(*JOB, {"message": "first"})
        async with opened(hub) as page, await a_watcher(hub, 1) as watcher:
            assert page.response.status_code == 200
            assert page.response.headers["content-type"].startswith("text/event-stream")
            assert page.response.headers["cache-control"] == "no-store"
            assert page.response.headers["x-accel-buffering"] == "no"
            snapshot = await page.event()
            assert (snapshot.name, snapshot.message["type"]) == ("snapshot", "job.snapshot")
            assert snapshot.id == snapshot.message["cursor"]
            assert page.reader.retry > 0
            await eventually_async(lambda: hub.joining == 0)
            for payload in (
                {"nodeId": 1, "status": "failed"},
                {"kind": "log", "message": "a line"},
                {"kind": "artifact", "data": {}},
                {"status": "running"},
                {"status": "failed", "willRetry": True},
                {"status": "completed"},
            ):
                log.store(*JOB, payload)
            got = await page.rest()
            names = ["progress", "log", "artifact", "job", "failed", "completed", "done"]
            assert [event.name for event in got] == names
            for event in got[:-1]:
                assert event.id == event.message["cursor"]
                assert event.message == await watcher.message()
            assert got[-1].id == got[-2].id
        await eventually_async(lambda: len(hub.clients) == 0)
        assert hub.empty or await eventually_async(lambda: hub.empty)


@pytest.mark.parametrize("by", ["header", "query", "both"])
async def test_a_stream_is_resumed_by_the_last_id(by: str) -> None:
    """The header goes before the query, which stays in an EventSource's URL."""
    async with logged_hub() as (hub, log):
        cursors = fill(log, 10)
        headers = {} if by == "query" else {"Last-Event-ID": cursors[6]}
        query = {} if by == "header" else {"after": cursors[6 if by == "query" else 1]}
        async with opened(hub, headers, **query) as page:
            assert [event.message["payload"]["n"] for event in await page.events(3)] == [7, 8, 9]
            fill(log, 1)
            assert (await page.event()).message["payload"]["n"] == 0
        async with opened(hub, after="start") as page:
            assert [event.message["payload"]["n"] for event in await page.events(10)] == list(range(10))


async def test_whoever_has_seen_the_end_is_told_not_to_come_back() -> None:
    async with logged_hub() as (hub, log):
        fill(log, 3)
        end = log.store(*JOB, {"status": "cancelled"})
        assert end.cursor is not None
        async with opened(hub, {"Last-Event-ID": end.cursor}) as page:
            assert page.response.status_code == 204
        async with opened(hub) as page:
            assert [event.name for event in await page.rest()] == ["snapshot", "done"]
            assert page.reader.id == end.cursor
        async with opened(hub, after="start") as page:
            assert [event.name for event in await page.rest()] == ["progress"] * 3 + ["cancelled", "done"]
        log.store(*JOB, {"status": "running", "run": 2})
        async with opened(hub, {"Last-Event-ID": end.cursor}) as page:
            assert (await page.event()).message["payload"]["run"] == 2


async def test_whoever_comes_back_to_an_end_while_the_log_is_away_is_told_when_it_is_back() -> None:
    """The stream opens, because an EventSource would give up at a status; then it is done, and 204 the next time."""
    async with logged_hub() as (hub, log):
        cursors = fill(log, 3)
        end = log.store(*JOB, {"status": "completed"})
        assert end.cursor is not None
        log.unavailable = True
        async with (
            opened(hub, {"Last-Event-ID": end.cursor}) as at_the_end,
            opened(hub, {"Last-Event-ID": cursors[1]}) as before,
        ):
            assert (at_the_end.response.status_code, before.response.status_code) == (200, 200)
            await eventually_async(lambda: hub.joining == 2)
            log.unavailable = False
            hub.upstream_changed()
            assert [event.name for event in await at_the_end.rest()] == ["done"]
            assert at_the_end.reader.id == end.cursor
            assert [event.name for event in await before.rest()] == ["progress", "completed", "done"]
        async with opened(hub, {"Last-Event-ID": end.cursor}) as page:
            assert page.response.status_code == 204


async def test_whoever_comes_back_to_a_running_job_while_the_log_is_away_goes_on() -> None:
    async with logged_hub() as (hub, log):
        cursors = fill(log, 3)
        log.unavailable = True
        async with opened(hub, {"Last-Event-ID": cursors[-1]}) as page:
            await eventually_async(lambda: hub.joining == 1)
            log.unavailable = False
            hub.upstream_changed()
            await eventually_async(lambda: hub.joining == 0)
            log.store(*JOB, {"message": "", "n": 3})
            log.store(*JOB, {"status": "completed"})
            assert [event.name for event in await page.rest()] == ["progress", "completed", "done"]


async def test_a_gap_is_told_and_a_snapshot_follows() -> None:
    async with logged_hub() as (hub, log):
        cursors = fill(log, 10)
        log.drop(*JOB, 5)
        async with opened(hub, {"Last-Event-ID": cursors[1]}) as page:
            gap, snapshot = await page.events(2)
            assert (gap.name, gap.message["reason"], gap.id) == ("gap", "retention", "")
            assert (snapshot.name, snapshot.id) == ("snapshot", cursors[-1])


async def test_the_source_is_told_and_silence_broken() -> None:
    """Under names a page can listen to; never `error`, which means something else there."""
    async with logged_hub(heartbeat_interval=0.2) as (hub, _):
        async with opened(hub) as page:
            assert (await page.event()).message["snapshot"]["status"] == "unknown"
            hub.source.up = False
            hub.upstream_changed()
            told = await page.event()
            while told.name == "heartbeat":
                told = await page.event()
            assert (told.name, told.message) == ("upstream", {"type": "upstream", "status": "down"})
            assert (await page.event()).name == "heartbeat"
        await hub.emptied()


async def test_without_a_log_events_come_without_ids() -> None:
    async with live_hub() as hub, opened(hub, after="5-5") as page:
        gap, snapshot = await page.events(2)
        assert (gap.message["reason"], snapshot.message["snapshot"]["durable"]) == ("unavailable", False)
        assert snapshot.id == ""


async def test_a_stream_ends_with_its_token() -> None:
    async with logged_hub() as (hub, _), opened(hub, token=issue(SECRET, "acme", ttl=1)) as page:
        assert [event.name for event in await page.rest()] == ["snapshot"]
        assert hub.closes == {4003: 1}
        await hub.emptied()


async def test_streams_count_as_connections_and_their_end_is_noticed() -> None:
    async with logged_hub(max_connections=1) as (hub, _):
        async with opened(hub) as page:
            await page.event()
            async with opened(hub) as crowded:
                assert crowded.response.status_code == 503
                assert "retry-after" in crowded.response.headers
        await hub.emptied()
        async with opened(hub) as page:
            await page.event()


async def test_events_are_made_into_server_sent_ones_once_for_all_streams() -> None:
    """However many there are: they are given the same bytes."""
    async with logged_hub() as (hub, log), contextlib.AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(opened(hub)) for _ in range(20)]
        for page in pages:
            await page.event()
        await eventually_async(lambda: hub.joining == 0)
        (channel,) = hub._channels.values()
        log.delayed = True
        log.store(*JOB, {"message": "one"})
        log._deliver(*log._pending.popleft())
        batch = channel.take()
        for client in channel.subscribers:
            client.push(batch, 0)
        assert len({id(client._queue[-1][0]) for client in channel.subscribers}) == 1  # type: ignore[attr-defined]
        for page in pages:
            assert (await page.event()).message["payload"] == {"message": "one"}


async def test_one_that_does_not_read_is_ended_and_hurts_nobody() -> None:
    """What is held for it is bounded; it comes back with its last id."""
    async with logged_hub(queue_messages=50, queue_bytes=64 * 1024) as (hub, log):
        deaf = await RawClient.open(hub.port, receive_buffer=4096)
        await deaf.write(f"GET /api/jobs/1/stream?token={issue(SECRET, 'acme')} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        await eventually_async(lambda: hub.wants(*JOB) and hub.joining == 0)
        async with await a_watcher(hub, 1) as watcher:
            number = 0
            while not hub.closes:
                log.store(*JOB, {"message": "x" * 1_000, "n": number})
                assert (await watcher.message())["payload"]["n"] == number
                number += 1
            assert hub.closes == {4002: 1}
            await eventually_async(lambda: len(hub._clients) == 1)
        deaf.close()


async def test_one_that_reads_may_have_more_sent_than_may_be_held() -> None:
    """Also when there is always something more to send."""
    async with logged_hub(queue_messages=20) as (hub, log), opened(hub) as page:
        await page.event()
        await eventually_async(lambda: hub.joining == 0)

        async def report() -> None:
            for number in range(500):
                log.store(*JOB, {"message": "", "n": number})
                hub.flush()
                await asyncio.sleep(0)
                await eventually_async(lambda number=number: number - len(got) < 15)  # type: ignore[misc]

        got: list[int] = []
        reporting = asyncio.create_task(report())
        while len(got) < 500:
            got.append((await page.event()).message["payload"]["n"])
        await reporting
        assert got == list(range(500))
        assert hub.closes == {}


async def test_one_that_does_not_read_the_end_is_cut_off() -> None:
    async with logged_hub(write_wait=0.2) as (hub, log):
        deaf = await RawClient.open(hub.port, receive_buffer=4096)
        await deaf.write(f"GET /api/jobs/1/stream?token={issue(SECRET, 'acme')} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        await eventually_async(lambda: hub.wants(*JOB) and hub.joining == 0)
        for number in range(200):
            log.store(*JOB, {"message": "x" * 4_000, "n": number})
        log.store(*JOB, {"status": "completed"})
        await hub.emptied()
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while more := await deaf.read_some():
                got += more
        assert 0 < got < 200 * 4_000, "the end was not waited for"
        deaf.close()


async def test_a_replay_to_a_stream_is_paced_and_complete() -> None:
    """Longer than all bounds, to a client that begins late to read."""
    async with logged_hub(queue_messages=10, queue_bytes=4096, write_wait=0.1) as (hub, log):
        fill(log, 3_000, "x" * 1_000)
        slow = await RawClient.open(hub.port, receive_buffer=4096)
        request = f"GET /api/jobs/1/stream?after=start&token={issue(SECRET, 'acme')} HTTP/1.0\r\n\r\n"
        await slow.write(request.encode())
        await eventually_async(lambda: log.asked["read"] > 0)
        log.store(*JOB, {"status": "completed"})
        while await slow.read_some():
            pass
        text = bytes(slow._read).partition(b"\r\n\r\n")[2].decode()
        reader = Reader()
        events = [event for line in text.split("\n") if (event := reader.line(line)) is not None]
        numbers = [event.message["payload"]["n"] for event in events if event.name == "progress"]
        assert numbers == list(range(3_000))
        assert [event.name for event in events[-2:]] == ["completed", "done"]
        slow.close()


async def test_streams_end_when_the_hub_goes() -> None:
    """In good order, so that their clients come back."""
    async with contextlib.AsyncExitStack() as stack:
        async with logged_hub(drain_seconds=0.1) as (hub, _):
            page = await stack.enter_async_context(opened(hub))
            await page.event()
        assert await page.rest() == []
        assert hub.closes == {4001: 1}


async def test_pages_of_named_origins_may_read_a_stream() -> None:
    async with logged_hub(allow_origins=["https://app.example"]) as (hub, _):
        for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
            async with opened(hub, {"Origin": origin}) as page:
                header = page.response.headers.get("access-control-allow-origin")
                assert header == (origin if allowed else None)


async def test_no_token_comes_into_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with logged_hub(access_log=True) as (hub, _):
        token = issue(SECRET, "acme")
        async with opened(hub, token=token) as page:
            await page.event()
        async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
            await http.get("/api/jobs", params={"token": token})
        await hub.emptied()
    lines = [record.getMessage() for record in caplog.records if record.name == "milepost.hub.access"]
    assert any("/api/jobs/1/stream" in line for line in lines)
    assert not any(token in line for line in lines)


@given(st.dictionaries(st.text(), st.text() | st.integers()), st.sampled_from([None, 1, "\t"]))
def test_any_json_comes_back_as_it_was(payload: dict[str, Any], indent: int | str | None) -> None:
    """Line ends between its tokens included, of every kind."""
    for line_end in ("\n", "\r", "\r\n"):
        text = json.dumps(payload, indent=indent).replace("\n", line_end)
        reader = Reader()
        sent = server_sent(Delivery(text_frame(text.encode()), kind="log", cursor="1-1")).decode()
        assert "\r" not in sent
        events = [event for line in sent.split("\n") if (event := reader.line(line)) is not None]
        assert [(event.name, event.id, json.loads(event.data)) for event in events] == [("log", "1-1", payload)]


# -- all jobs ---------------------------------------------------------------------------------------------------------


async def test_all_jobs_are_a_stream_of_summaries() -> None:
    """Each job newest first, the list's end, then each change; the messages as on the WebSocket, without ids."""
    async with logged_hub() as (hub, log):
        for job in range(3):
            log.store("acme", str(job), {"status": "completed"})
        log.store("globex", "9", {"status": "running"})
        async with await a_client(hub) as watcher:
            await watcher.subscribe("*")
            async with opened(hub, job="*") as page:
                got = await page.events(4)
                assert [event.name for event in got] == ["summary"] * 3 + ["listed"]
                assert [event.message["jobId"] for event in got] == [2, 1, 0, "*"]
                assert [event.message for event in got] == [await watcher.message() for _ in range(4)]
                hub.deliver_summary("acme", "2", b'{"jobId":2,"status":"failed"}')
                hub.deliver_summary("globex", "9", b'{"jobId":9,"status":"failed"}')
                hub.deliver_summary("acme", "1", b'{"jobId":1,"status":"cancelled"}')
                changes = await page.events(2)
                assert [event.message for event in changes] == [await watcher.message() for _ in range(2)]
                assert {event.name for event in changes} == {"summary"}
                assert {event.id for event in got + changes} == {""}


async def test_the_stream_of_all_jobs_is_told_of_nats_and_is_listed_anew() -> None:
    async with logged_hub() as (hub, log):
        log.store(*JOB, {"status": "running"})
        async with opened(hub, job="*") as page:
            assert [event.name for event in await page.events(2)] == ["summary", "listed"]
            for up in (False, True):
                hub.source.up = up
                hub.upstream_changed()
            assert [event.name for event in await page.events(4)] == ["upstream", "upstream", "summary", "listed"]


async def test_the_stream_of_all_jobs_has_heartbeats_and_no_end() -> None:
    async with logged_hub(heartbeat_interval=0.05) as (hub, log):
        log.store(*JOB, {"status": "completed"})
        async with opened(hub, job="*") as page:
            assert [event.name for event in await page.events(4)] == ["summary", "listed", "heartbeat", "heartbeat"]
        await eventually_async(lambda: hub.empty)


async def test_without_a_log_the_stream_of_all_jobs_begins_with_none() -> None:
    """As the WebSocket; jobs appear as they speak."""
    async with live_hub() as hub, opened(hub, job="*") as page:
        listed = await page.event()
        assert (listed.name, listed.message["count"]) == ("listed", 0)
        hub.deliver_summary("acme", "1", b'{"jobId":1}')
        assert (await page.event()).message == {"type": "job.summary", "jobId": 1}


async def test_all_jobs_are_those_of_the_token() -> None:
    async with logged_hub() as (hub, log):
        for job in range(4):
            log.store("acme", str(job), {"status": "running"})
        async with opened(hub, job="*", token=issue(SECRET, "acme", jobs=[1, 3])) as page:
            assert [event.message["jobId"] for event in await page.events(3)] == [3, 1, "*"]
            for name in (b"2", b"3"):
                hub.deliver_summary("acme", name.decode(), b'{"jobId":%b}' % name)
            assert (await page.event()).message["jobId"] == 3
        async with opened(hub, job="*", token=issue(SECRET, "acme", scopes=["cancel"])) as page:
            assert page.response.status_code == 403


@pytest.mark.parametrize("job", ["1", "*"])
async def test_a_stream_that_begins_while_nats_is_away_says_so(job: str) -> None:
    """A WebSocket has it in `subscribed`."""
    async with logged_hub() as (hub, log):
        log.store(*JOB, {"status": "running"})
        hub.source.up = False
        hub.upstream_changed()
        async with opened(hub, job=job) as page:
            first = await page.event()
            assert (first.name, first.message["status"]) == ("upstream", "down")
