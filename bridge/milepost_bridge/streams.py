"""The log's and the records' streams, as they should be."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.stream import NANOSECONDS, Wanted, check_jetstream, check_server, ensure_stream

from milepost_bridge.place import LIVE
from milepost_bridge.settings import BridgeSettings

LOG: Final = "MILEPOST_LOG"
STATE: Final = "MILEPOST_STATE"

_LOG_MESSAGE: Final = 65_536
_STATE_MESSAGE: Final = 300_000
"""Bytes, headers included."""
_DUPLICATE_WINDOW: Final = 120.0

_VITAL: Final = {
    "subjects": "events would be missing, or what is none be taken for one",
    "storage": "a restart of the server would lose it",
    "retention": "events would go as soon as somebody has read them",
    "allow_direct": "it could not be read",
    "republish": "nothing would be shown live",
}
"""What must be as it should, and why. Any other difference is told."""


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
    await check_jetstream(api)
    log = await ensure_stream(api, _wanted(log_config(settings), settings))
    state = await ensure_stream(api, _wanted(state_config(settings), settings))
    return Streams(log.created, log.differences + state.differences)


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
        "max_age": round(settings.log_max_age * NANOSECONDS),
        "max_bytes": settings.log_max_bytes or -1,
        "max_msgs": -1,
        "max_consumers": -1,
        "duplicate_window": round(min(_DUPLICATE_WINDOW, settings.log_max_age) * NANOSECONDS),
        "num_replicas": settings.log_replicas,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


def _wanted(config: dict[str, Any], settings: BridgeSettings) -> Wanted:
    each = f"{settings.log_max_bytes:,}" if settings.log_max_bytes else "no"
    space = (
        f"Two streams are to be kept, of {each} bytes at most each, in {settings.log_replicas} copies: "
        "set log_max_bytes to what the server can spare"
    )
    return Wanted(
        config, _VITAL, settings.log_update, {"update": "log_update", "space": space, "replicas": "log_replicas"}
    )
