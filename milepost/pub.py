"""`milepost pub`: one event from a shell."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from milepost import nats_access
from milepost.errors import UsageError
from milepost.nats_access import NatsAccess
from milepost.options import expand

Number = int | float


@expand({NatsAccess: nats_access.GROUP})
def pub(
    *,
    job: Annotated[str, typer.Argument(help="The job's id.", envvar="MILEPOST_JOB")],
    nats: NatsAccess,
    tenant: Annotated[str, typer.Option("--tenant", envvar="MILEPOST_TENANT", help="The tenant the job belongs to.")],
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            envvar="MILEPOST_EVENT_STATUS",
            help="Of a node: idle, running, completed, failed, cancelled. "
            "Of the job (without --node): queued and cancelling too.",
        ),
    ] = None,
    node: Annotated[
        str | None,
        typer.Option("--node", envvar="MILEPOST_EVENT_NODE", help="The node's id: a number or a short name."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", envvar="MILEPOST_EVENT_NAME", help="The node's name; without --node the job's."),
    ] = None,
    rows: Annotated[str | None, typer.Option("--rows", envvar="MILEPOST_EVENT_ROWS", help="How many are done.")] = None,
    total: Annotated[
        str | None, typer.Option("--total", envvar="MILEPOST_EVENT_TOTAL", help="How many there will be.")
    ] = None,
    unit: Annotated[str | None, typer.Option("--unit", envvar="MILEPOST_EVENT_UNIT", help="What is counted.")] = None,
    fraction: Annotated[
        float | None,
        typer.Option("--fraction", envvar="MILEPOST_EVENT_FRACTION", help="How much is done, from 0 to 1."),
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", envvar="MILEPOST_EVENT_MESSAGE", help="One line for people.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            envvar="MILEPOST_EVENT_KIND",
            help="progress, job, log, artifact, plan or result; by default what the event looks like.",
        ),
    ] = None,
    run: Annotated[
        int | None, typer.Option("--run", envvar="MILEPOST_RUN", help="Which execution of the job, from 1.")
    ] = None,
    payload: Annotated[
        str | None,
        typer.Option(
            "--json",
            envvar="MILEPOST_EVENT_JSON",
            help="The event as a JSON object; the other options are put over it.",
        ),
    ] = None,
) -> None:
    """Publish one event of a job, and make sure that NATS has taken it."""
    fields = {
        "kind": kind,
        "nodeId": None if node is None else _node_id(node),
        "nodeName" if node is not None else "name": name,
        "status": status,
        "rowCount": _number("--rows", rows),
        "total": _number("--total", total),
        "unit": unit,
        "fraction": fraction,
        "message": message,
        "run": run,
    }
    event = _object(payload) | {field: value for field, value in fields.items() if value is not None}
    subject, data = _checked(tenant, job, event)
    asyncio.run(_publish(nats, subject, data))


def _object(payload: str | None) -> dict[str, Any]:
    if payload is None:
        return {}
    try:
        value = json.loads(payload)
    except ValueError as error:
        raise UsageError(f"--json is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError('--json must be a JSON object: {"status": "running"}')
    return value


def _node_id(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _number(flag: str, text: str | None) -> Number | None:
    """A count as it was written: 5000 stays whole."""
    if text is None:
        return None
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    raise UsageError(f"{flag}: {text!r} is not a number")


def _checked(tenant: str, job: str, event: dict[str, Any]) -> tuple[str, bytes]:
    from milepost_reporter import subject
    from milepost_reporter.event import BadEvent, parse_event
    from milepost_reporter.names import check_job, check_tenant

    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    try:
        where = subject.progress(check_tenant(tenant), check_job(job))
        parse_event(data)
    except BadEvent as error:
        raise UsageError(f"this is no event: {error}; give --status, --fraction, --message or --json") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    return where, data


async def _publish(access: NatsAccess, subject: str, data: bytes) -> None:
    from milepost.nats_session import NatsSession

    async with NatsSession(access).open() as session:
        await session.client.publish(subject, data)
        await session.confirm()
