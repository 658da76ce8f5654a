"""What the log is told of a job by nobody's reporter: that it is queued, and ends without a run of its own."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import Any, Final

from milepost_reporter import subject
from milepost_reporter.event import JOB, RESULT
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import Refused, Unavailable
from milepost_reporter.payload import MAX_MESSAGE, BadValueError, encode, moment, tail

from milepost_runner.record import CANCELLED, COMPLETED, JobRecord

_ENDED_ALREADY: Final = 10071
_ASK_AGAIN: Final = 10164
_PAUSE: Final = 0.02
_FIRST: Final = {"Nats-Expected-Last-Subject-Sequence": "0"}


async def tell_queued(api: Api, tenant: str, job: str, record: JobRecord) -> None:
    """Tell that a run waits, unless it has been told of before: a first run that runs is not put back to waiting."""
    event = _event("queued", record, record.queued_at if record.run == 1 else None)
    await _tell(api, subject.progress(tenant, job), event, _FIRST if record.run == 1 else {}, record.run)


async def tell_end(api: Api, tenant: str, job: str, record: JobRecord) -> None:
    """Tell how a record has ended; only the first end of a run is stored, whoever tells it."""
    if record.status == COMPLETED and record.result is not None:
        await _tell_result(api, tenant, job, record)
    # One that completed or failed although it was told to stop does not end for that reason.
    reason = record.cancel_reason[:MAX_MESSAGE] if record.cancel_reason and record.status == CANCELLED else None
    event = _event(record.status, record, record.ended_at, message=reason, error=_bounded(record.error))
    await _tell(api, subject.end(tenant, job, record.run), event, _FIRST, record.run)


async def _tell_result(api: Api, tenant: str, job: str, record: JobRecord) -> None:
    """What it came to, ahead of its end and only there: the end's subject must still be without a message.

    Source: nats-server #5281. A server that does not know the header with the subject looks at `.progress`, and stores
    nothing.
    """
    once = {
        **_FIRST,
        "Nats-Expected-Last-Subject-Sequence-Subject": subject.end(tenant, job, record.run),
        "Nats-Msg-Id": f"{tenant}-{job}-result-{record.run}",
    }
    # No result is worth an end that is never told: one that cannot be an event is left to the store.
    with contextlib.suppress(BadValueError, Unavailable):
        event = encode({"kind": RESULT, "run": record.run, "data": record.result})
        await _tell(api, subject.progress(tenant, job), event, once, record.run)


def _event(status: str, record: JobRecord, at: datetime | None, **more: Any) -> bytes:  # noqa: ANN401 - JSON
    told = {"at": moment(at.timestamp())} if at is not None else {}
    return encode({"kind": JOB, "status": status, "run": record.run, "name": record.name, **told, **more})


def _bounded(error: dict[str, str] | None) -> dict[str, str] | None:
    """An error that the log takes, whoever has written the record."""
    if error is None:
        return None
    told = {"message": error.get("message", "")[:MAX_MESSAGE]}
    return told | {"details": tail(error["details"])} if "details" in error else told


async def _tell(api: Api, to: str, event: bytes, headers: dict[str, str], run: int) -> None:
    while True:
        try:
            await api.publish(to, event, {**headers, "Milepost-Run": str(run)})
        except Refused as refused:
            if refused.err_code == _ENDED_ALREADY:
                return
            if refused.err_code != _ASK_AGAIN:
                raise Unavailable(f"the log takes no events: {refused}") from refused
        except Unavailable as error:
            if error.nobody:  # there is no log: nobody is to be told
                return
            raise
        else:
            return
        await asyncio.sleep(_PAUSE)
