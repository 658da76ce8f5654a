"""A stream: made, or compared with what it should be, and what differs told.

One that exists may have been made by somebody with reasons: it is changed only when that is asked for. What would let
one tenant destroy what another has stored is no matter of taste: such a stream is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import NoJetStream, Refused, ServerTooOld, StreamUnfit, Unavailable

OLDEST_SERVER: Final = (2, 11, 0)
"""Before it, a Direct Get answers one message and never says that it was the last."""

_NOT_FOUND: Final = 10059
_EXISTS_OTHERWISE: Final = 10058
_OVERLAP: Final = 10065
_NO_SPACE: Final = (10002, 10023, 10028, 10047, 10113, 10122)
_NO_PEERS: Final = (10005, 10074)

_DURATIONS: Final = ("max_age", "duplicate_window")
NANOSECONDS: Final = 10**9
"""In a second."""

_FORBIDDEN: Final = {
    "sealed": "it takes no events",
    "no_ack": "it never says that an event is stored",
    "allow_rollup_hdrs": "any tenant could delete everybody's events with one header",
    "allow_msg_ttl": "any tenant could keep events for ever, or for a second",
    "subject_delete_marker_ttl": "it lets any tenant delete everybody's events with one header",
    "allow_msg_schedules": "any tenant could have events published as another's",
    "allow_msg_counter": "it takes no events",
    "subject_transform": "events would be stored as another job's",
    "mirror": "it takes no events",
    "sources": "it holds events that nobody has published here",
}
"""What must be off, and why."""


_INFO: Final = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)")


class Wanted(NamedTuple):
    """A stream as it should be.

    `vital`: fields that must be as they should, each with what would come of another value; any other difference is
    told. `update`: whether to change one that exists. `hints`: settings by the words `update`, `space` and `replicas`,
    for people whom to tell what to do.
    """

    config: dict[str, Any]
    vital: Mapping[str, str]
    update: bool
    hints: Mapping[str, str]


class Ensured(NamedTuple):
    """A stream that can serve. `created`: RFC 3339; `differences`: from what was wanted, in words."""

    created: str
    differences: list[str]


async def ensure_stream(api: Api, wanted: Wanted) -> Ensured:
    """Make sure that a stream exists and can serve. Any number of processes may do so at once.

    Raises:
        StreamUnfit: it exists and cannot serve, or cannot be made; the message says what to do.
        Unavailable: ask again.
    """
    name = wanted.config["name"]
    info = await find_stream(api, name) or await _create(api, wanted) or await find_stream(api, name)
    if info is None:
        raise Unavailable(f"{name} came and went")
    differences = list(_differences(info["config"], wanted))
    advice = f"start once with {wanted.hints['update']}, or "
    if differences and wanted.update:
        try:
            info = await _update(api, info["config"], wanted.config)
            differences = list(_differences(info["config"], wanted))
        except Refused as refused:
            advice = f"NATS does not change it ({refused}): "
    unfit = [f"{difference.told}: {difference.harm}" for difference in differences if difference.harm]
    if unfit:
        raise StreamUnfit(
            f"{'; '.join(unfit)}. So it cannot serve: {advice}delete it and all that it holds, `nats stream rm {name}`"
        )
    return Ensured(str(info["created"]), [difference.told for difference in differences])


async def find_stream(api: Api, name: str) -> dict[str, Any] | None:
    """What NATS says of a stream; None when there is none.

    Raises:
        StreamUnfit: it may not be looked at.
        Unavailable: ask again.
    """
    try:
        return await api.request(f"$JS.API.STREAM.INFO.{name}")
    except Refused as refused:
        if refused.err_code == _NOT_FOUND:
            return None
        raise StreamUnfit(f"the stream {name} cannot be looked at: {refused}") from None


async def _create(api: Api, wanted: Wanted) -> dict[str, Any] | None:
    """The new stream; None when somebody else was faster, and of another mind."""
    name = wanted.config["name"]
    try:
        return await api.request(f"$JS.API.STREAM.CREATE.{name}", wanted.config)
    except Refused as refused:
        if refused.err_code == _EXISTS_OTHERWISE:
            return None
        advice = await _advice(api, refused, wanted)
        raise StreamUnfit(f"the stream {name} cannot be made: {refused}{advice}") from None


async def _advice(api: Api, refused: Refused, wanted: Wanted) -> str:
    if refused.err_code == _OVERLAP:
        others = await _streams_with(api, wanted.config["subjects"])
        return f". Its subjects are taken by {', '.join(others) or 'a stream of another name'}: take them out there"
    if refused.err_code in _NO_SPACE:
        return f". {wanted.hints['space']}, or give the server more (max_file_store)"
    if refused.err_code in _NO_PEERS:
        copies = wanted.config["num_replicas"]
        return f". {wanted.hints['replicas']} asks for {copies} servers: set it to as many as the cluster has"
    return ""


async def _streams_with(api: Api, subjects: list[str]) -> list[str]:
    found: set[str] = set()
    for subject in subjects:
        answer = await api.request("$JS.API.STREAM.NAMES", {"subject": subject})
        found.update(answer.get("streams") or ())
    return sorted(found)


async def _update(api: Api, config: Mapping[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    # what is neither ours nor forbidden stays as whoever made the stream wanted it
    kept = {field: value for field, value in config.items() if field not in _FORBIDDEN}
    return await api.request(f"$JS.API.STREAM.UPDATE.{wanted['name']}", {**kept, **wanted})


class _Difference(NamedTuple):
    told: str
    harm: str | None


def _differences(config: Mapping[str, Any], wanted: Wanted) -> Iterator[_Difference]:
    for field, harm in _FORBIDDEN.items():
        if value := config.get(field):
            yield _Difference(_words(wanted.config["name"], field, value, None), harm)
    for field, should_be in wanted.config.items():
        value = config.get(field)
        if _comparable(value) != _comparable(should_be):
            yield _Difference(_words(wanted.config["name"], field, value, should_be), wanted.vital.get(field))


def _comparable(value: Any) -> Any:  # noqa: ANN401 - JSON
    # NATS leaves out what is off, and does not mind the order of subjects
    return sorted(value) if isinstance(value, list) else value or None


def _words(stream: str, field: str, value: Any, should_be: Any) -> str:  # noqa: ANN401 - JSON
    return f"{stream}: {field} is {_shown(field, value)}, should be {_shown(field, should_be)}"


def _shown(field: str, value: Any) -> str:  # noqa: ANN401 - JSON
    if value in (None, False):
        return "off"
    if value is True:
        return "on"
    if field in _DURATIONS:
        return f"{value / NANOSECONDS:g} s"
    if field == "republish":
        return f"{value.get('src')} to {value.get('dest')}{' without payloads' if value.get('headers_only') else ''}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def check_server(info: Mapping[str, Any]) -> None:
    """ServerTooOld when a server's INFO names a version before OLDEST_SERVER. Without one, nothing is known."""
    version = str(info.get("version", ""))
    found = _INFO.match(version)
    if found is not None and tuple(map(int, found.groups())) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise ServerTooOld(
            f"this nats-server is {version}, and the log needs {oldest} or newer: "
            f"older ones cannot read many events at once. Events are shown live only"
        )


async def check_jetstream(api: Api) -> None:
    """NoJetStream, in words about what to do, when the server or the account has none."""
    try:
        await api.request("$JS.API.INFO")
    except Unavailable as error:
        if error.nobody and not api.server_info.get("jetstream"):
            raise NoJetStream("this nats-server runs without JetStream: start it with `--jetstream`") from None
        raise
    except NoJetStream:
        raise NoJetStream(
            "the NATS account has no JetStream: put `jetstream: enabled` into it in the server's configuration"
        ) from None
