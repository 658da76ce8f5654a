"""The queue's stream, the store's and the catalog's buckets, as they should be; and a tenant's consumer."""

from __future__ import annotations

from typing import Any, Final

from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.stream import NANOSECONDS, Wanted, check_jetstream, check_server, ensure_stream

from milepost_runner import subject
from milepost_runner.settings import RunnerSettings
from milepost_runner.subject import HANDLERS, JOBS, WORK, WORK_SUBJECTS, QueueName, bucket_stream

RECORDS_HEARD: Final = "heard."
"""What stands before the subject of a record that is told live, when it has changed."""

_CATALOG_MAX_AGE: Final = 86_400.0
_DUPLICATE_WINDOW: Final = 120.0
_MARGIN: Final = 8_192
"""Bytes of a message beside payload and result."""
_ERROR: Final = 65_536

_VITAL: Final = {
    "subjects": "jobs would be missing",
    "storage": "a restart of the server would lose it",
    "retention": "it could not serve as what it is",
    "allow_direct": "it could not be read",
    "republish": "nobody would hear of changes",
    "max_msgs_per_subject": "a job could be there twice",
}


async def ensure(api: Api, settings: RunnerSettings) -> list[str]:
    """Make sure that all three exist and can serve. What differs from the settings, in words.

    Raises:
        NoJetStream, ServerTooOld, StreamUnfit: the message says what to do.
        Unavailable: ask again.
    """
    check_server(api.server_info)
    await check_jetstream(api)
    differences: list[str] = []
    for config in (work_config(settings), jobs_config(settings), handlers_config(settings)):
        differences += (await ensure_stream(api, _wanted(config, settings))).differences
    return differences


async def ensure_consumer(api: Api, settings: RunnerSettings, queue: QueueName) -> None:
    """Make sure that a tenant's queue can be asked for work, with the settings' limits.

    Raises:
        Refused, Unavailable
    """
    name = subject.consumer(queue)
    await api.request(
        f"$JS.API.CONSUMER.CREATE.{WORK}.{name}",
        {
            "stream_name": WORK,
            "config": {
                "name": name,
                "durable_name": name,
                "filter_subject": subject.work(queue.tenant, queue.queue, "*"),
                "deliver_policy": "all",
                "ack_policy": "explicit",
                "ack_wait": round(settings.claim * NANOSECONDS),
                "max_ack_pending": settings.tenant_limit,
                "max_deliver": -1,
                "max_waiting": 10_000,
            },
        },
    )


def work_config(settings: RunnerSettings) -> dict[str, Any]:
    """The queue: one message a job, gone when it is acknowledged."""
    return _config(
        settings,
        name=WORK,
        subjects=[WORK_SUBJECTS],
        retention="workqueue",
        discard="new",
        max_age=0,
        max_bytes=settings.queue_max_bytes or -1,
        max_msgs_per_subject=-1,
        max_msg_size=settings.payload_max_bytes + _MARGIN,
    )


def jobs_config(settings: RunnerSettings) -> dict[str, Any]:
    """The store: a key-value bucket, but that it takes no rollups, with which one tenant could empty it."""
    return _config(
        settings,
        name=bucket_stream(JOBS),
        subjects=[f"$KV.{JOBS}.>"],
        max_age=round(settings.store_max_age * NANOSECONDS),
        max_bytes=settings.store_max_bytes or -1,
        max_msgs_per_subject=1,
        max_msg_size=settings.payload_max_bytes + 2 * _ERROR + _MARGIN,
        deny_delete=True,
        deny_purge=True,
        republish={"src": ">", "dest": f"{RECORDS_HEARD}>", "headers_only": True},
    )


def handlers_config(settings: RunnerSettings) -> dict[str, Any]:
    """The catalog: a key-value bucket that forgets what no worker has told for a day."""
    return _config(
        settings,
        name=bucket_stream(HANDLERS),
        subjects=[f"$KV.{HANDLERS}.>"],
        max_age=round(_CATALOG_MAX_AGE * NANOSECONDS),
        max_bytes=-1,
        max_msgs_per_subject=1,
        max_msg_size=_ERROR,
        deny_delete=True,
        deny_purge=True,
    )


def _config(settings: RunnerSettings, **own: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_msgs": -1,
        "max_consumers": -1,
        "duplicate_window": round(_DUPLICATE_WINDOW * NANOSECONDS),
        "num_replicas": settings.replicas,
        "allow_direct": True,
        **own,
    }


def _wanted(config: dict[str, Any], settings: RunnerSettings) -> Wanted:
    space = "Give queue_max_bytes and store_max_bytes what the server can spare"
    return Wanted(config, _VITAL, settings.update, {"update": "update", "space": space, "replicas": "replicas"})
