"""The log's and the records' streams: created, or compared and what differs told.

A stream that exists may have been made by somebody with reasons: it is changed only when `log_update` says so. What
would let one tenant destroy another's log, or leaves nothing to read, is no matter of taste: such a stream is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from milepost_bridge.api import Api
from milepost_bridge.errors import NoJetStream, Refused, ServerTooOld, StreamUnfit, Unavailable
from milepost_bridge.place import LIVE
from milepost_bridge.settings import BridgeSettings

LOG: Final = "MILEPOST_LOG"
STATE: Final = "MILEPOST_STATE"

OLDEST_SERVER: Final = (2, 11, 0)
"""Before it, a Direct Get answers one message and never says that it was the last."""

_LOG_MESSAGE: Final = 65_536
_STATE_MESSAGE: Final = 300_000
"""Bytes, headers included."""
_DUPLICATE_WINDOW: Final = 120.0

_NOT_FOUND: Final = 10059
_EXISTS_OTHERWISE: Final = 10058
_OVERLAP: Final = 10065
_NO_SPACE: Final = (10002, 10023, 10028, 10047, 10113, 10122)
_NO_PEERS: Final = (10005, 10074)

_DURATIONS: Final = ("max_age", "duplicate_window")
_NANOSECONDS: Final = 10**9

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

_VITAL: Final = {
    "subjects": "events would be missing, or what is none be taken for one",
    "storage": "a restart of the server would lose it",
    "retention": "events would go as soon as somebody has read them",
    "allow_direct": "it could not be read",
    "republish": "nothing would be shown live",
}
"""What must be as it should, and why. Any other difference is told."""

_INFO: Final = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)")


class Streams(NamedTuple):
    """What there is. `log_created`: RFC 3339; `differences`: from the settings, in words."""

    log_created: str
    differences: list[str]


async def ensure(api: Api, settings: BridgeSettings) -> Streams:
    """Make sure that both streams exist and can serve. Any number of processes may do so at once.

    Raises:
        NoJetStream: the server or the account has none.
        ServerTooOld: it is older than OLDEST_SERVER.
        StreamUnfit: a stream exists and cannot serve, or cannot be made; the message says what to do.
        Unavailable: ask again.
    """
    check_server(api.server_info)
    await _check_jetstream(api)
    log = await _ensure(api, log_config(settings), settings)
    state = await _ensure(api, state_config(settings), settings)
    return Streams(log.created, log.differences + state.differences)


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


def log_config(settings: BridgeSettings) -> dict[str, Any]:
    """The log's stream, as the server is told."""
    return _config(
        settings,
        name=LOG,
        subjects=["tenant.*.job.*.progress", "tenant.*.job.*.end.*"],
        max_msgs_per_subject=settings.log_events_per_job,
        max_msg_size=_LOG_MESSAGE,
        republish={"src": ">", "dest": f"{LIVE.decode()}>"},
    )


def state_config(settings: BridgeSettings) -> dict[str, Any]:
    """The state records' stream: the last record of each reporter."""
    return _config(
        settings, name=STATE, subjects=["tenant.*.job.*.state.*"], max_msgs_per_subject=1, max_msg_size=_STATE_MESSAGE
    )


def _config(settings: BridgeSettings, **own: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        **own,
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_age": round(settings.log_max_age * _NANOSECONDS),
        "max_bytes": settings.log_max_bytes or -1,
        "max_msgs": -1,
        "max_consumers": -1,
        "duplicate_window": round(min(_DUPLICATE_WINDOW, settings.log_max_age) * _NANOSECONDS),
        "num_replicas": settings.log_replicas,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


async def _check_jetstream(api: Api) -> None:
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


class _Ensured(NamedTuple):
    created: str
    differences: list[str]


async def _ensure(api: Api, wanted: dict[str, Any], settings: BridgeSettings) -> _Ensured:
    name = wanted["name"]
    info = await _find(api, name) or await _create(api, wanted, settings) or await _find(api, name)
    if info is None:
        raise Unavailable(f"{name} came and went")
    differences = list(_differences(info["config"], wanted))
    advice = "start once with log_update, or "
    if differences and settings.log_update:
        try:
            info = await _update(api, info["config"], wanted)
            differences = list(_differences(info["config"], wanted))
        except Refused as refused:
            advice = f"NATS does not change it ({refused}): "
    unfit = [f"{difference.told}: {difference.harm}" for difference in differences if difference.harm]
    if unfit:
        raise StreamUnfit(
            f"{'; '.join(unfit)}. So it cannot serve: {advice}delete it and all that it holds, `nats stream rm {name}`"
        )
    return _Ensured(str(info["created"]), [difference.told for difference in differences])


async def _find(api: Api, name: str) -> dict[str, Any] | None:
    try:
        return await api.request(f"$JS.API.STREAM.INFO.{name}")
    except Refused as refused:
        if refused.err_code == _NOT_FOUND:
            return None
        raise StreamUnfit(f"the stream {name} cannot be looked at: {refused}") from None


async def _create(api: Api, wanted: dict[str, Any], settings: BridgeSettings) -> dict[str, Any] | None:
    """The new stream; None when somebody else was faster, and of another mind."""
    try:
        return await api.request(f"$JS.API.STREAM.CREATE.{wanted['name']}", wanted)
    except Refused as refused:
        if refused.err_code == _EXISTS_OTHERWISE:
            return None
        advice = await _advice(api, refused, wanted, settings)
        raise StreamUnfit(f"the stream {wanted['name']} cannot be made: {refused}{advice}") from None


async def _advice(api: Api, refused: Refused, wanted: dict[str, Any], settings: BridgeSettings) -> str:
    if refused.err_code == _OVERLAP:
        others = await _streams_with(api, wanted["subjects"])
        return f". Its subjects are taken by {', '.join(others) or 'a stream of another name'}: take them out there"
    if refused.err_code in _NO_SPACE:
        bytes_each = f"{settings.log_max_bytes:,}" if settings.log_max_bytes else "no"
        return (
            f". Two streams are to be kept, of {bytes_each} bytes at most each, in {settings.log_replicas} copies: "
            "set log_max_bytes to what the server can spare, or give it more (max_file_store)"
        )
    if refused.err_code in _NO_PEERS:
        return f". log_replicas asks for {settings.log_replicas} servers: set it to as many as the cluster has"
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


def _differences(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[_Difference]:
    for field, harm in _FORBIDDEN.items():
        if value := config.get(field):
            yield _Difference(_words(wanted["name"], field, value, None), harm)
    for field, should_be in wanted.items():
        value = config.get(field)
        if _comparable(value) != _comparable(should_be):
            yield _Difference(_words(wanted["name"], field, value, should_be), _VITAL.get(field))


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
        return f"{value / _NANOSECONDS:g} s"
    if field == "republish":
        return f"{value.get('src')} to {value.get('dest')}{' without payloads' if value.get('headers_only') else ''}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
