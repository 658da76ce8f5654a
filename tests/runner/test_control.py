"""Requests to running jobs, and who hears them."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter import subject
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.errors import Unavailable
from milepost_runner.control import Control, _read
from milepost_runner.settings import RunnerSettings

from milepost.nats_server import NatsServer
from tests.runner.stand import IMPATIENT, live_api
from tests.waiting import eventually_async


@contextlib.asynccontextmanager
async def control_on(server: NatsServer) -> AsyncIterator[tuple[Control, Api]]:
    """A control with a connection of its own."""
    controls: list[Control] = []

    def on_heard(place: bytes, payload: bytes, headers: bytes | None, reply: bytes | None) -> None:
        controls[0].heard(place, payload, reply)

    api = Api(
        [server.url],
        RunnerSettings.model_validate(IMPATIENT),
        lambda: None,
        Complaints(logging.getLogger("milepost_runner")),
        on_heard=on_heard,
    )
    control = Control(api)
    controls.append(control)
    api.start()
    try:
        await eventually_async(lambda: api.up)
        yield control, api
    finally:
        await api.close()


async def asked(api: Api, job: str, request: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await api.ask(subject.control("acme", job), request, 5))
    return answer


async def test_a_request_reaches_its_job_and_no_other(nats_server: NatsServer) -> None:
    """As soon as `listen` returns; with its reason, if it has one."""
    told: list[tuple[str, str | None]] = []
    async with control_on(nats_server) as (control, _), live_api(nats_server, Api) as asker:
        await control.listen("acme", "1", lambda reason: told.append(("1", reason)))
        await control.listen("acme", "2", lambda reason: told.append(("2", reason)))
        assert await asked(asker, "2", b'{"action":"cancel","reason":"enough"}') == {"ok": True}
        assert await asked(asker, "1", b'{"action":"cancel"}') == {"ok": True}
        assert told == [("2", "enough"), ("1", None)]


async def test_what_is_no_request_is_answered_in_words_and_counted(nats_server: NatsServer) -> None:
    told: list[str | None] = []
    async with control_on(nats_server) as (control, _), live_api(nats_server, Api) as asker:
        await control.listen("acme", "1", told.append)
        assert await asked(asker, "1", b"stop!") == {"ok": False, "message": "the request is no JSON"}
        refused = {"ok": False, "message": 'the only request is {"action":"cancel"}'}
        assert await asked(asker, "1", b'{"action":"pause"}') == refused
        assert (control.refused, told) == (2, [])


async def test_who_has_left_hears_nothing(nats_server: NatsServer) -> None:
    """And nobody answers for it: whoever asks is told so at once."""
    told: list[str | None] = []
    async with control_on(nats_server) as (control, api), live_api(nats_server, Api) as asker:
        await control.listen("acme", "1", told.append)
        control.leave("acme", "1", told.append)
        await api.round_trip()
        with pytest.raises(Unavailable):
            await asker.ask(subject.control("acme", "1"), b'{"action":"cancel"}', 0.2)
        assert told == []
        control.leave("acme", "1", told.append)


async def test_one_that_leaves_does_not_make_its_follower_deaf(nats_server: NatsServer) -> None:
    """A run that was lost, and the next of the same job, in the same worker."""
    first: list[str | None] = []
    second: list[str | None] = []
    async with control_on(nats_server) as (control, _), live_api(nats_server, Api) as asker:
        await control.listen("acme", "1", first.append)
        await control.listen("acme", "1", second.append)
        control.leave("acme", "1", first.append)
        assert await asked(asker, "1", b'{"action":"cancel"}') == {"ok": True}
        assert (first, second) == ([], [None])


async def test_it_listens_again_after_an_outage(nats_server: NatsServer) -> None:
    told: list[str | None] = []
    async with control_on(nats_server) as (control, api), live_api(nats_server, Api) as asker:
        await control.listen("acme", "1", told.append)
        nats_server.kill()
        await eventually_async(lambda: not api.up and not asker.up)
        nats_server.start()
        await eventually_async(lambda: api.up and asker.up)
        assert await asked(asker, "1", b'{"action":"cancel"}') == {"ok": True}
        assert told == [None]


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(lambda value: json.dumps(value).encode()))  # fmt: skip # noqa: E501
def test_any_bytes_are_a_request_or_a_reason_why_not(payload: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert _read(payload) is None


@given(st.text())
def test_a_reason_is_bounded(reason: str) -> None:
    told = _read(json.dumps({"action": "cancel", "reason": reason * 50}).encode("utf-8", "surrogatepass"))
    assert told is None or 0 < len(told) <= 1_000
