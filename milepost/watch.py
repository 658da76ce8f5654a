"""`milepost watch`: one job's progress, live in a terminal."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from milepost import duration, errors, hub_url
from milepost.errors import CommandError, UsageError

if TYPE_CHECKING:
    from milepost.watch_output import Output
    from milepost.watched_job import Link, WatchedJob

_EXIT_CODES: Final = {"completed": errors.OK, "failed": errors.FAILED, "cancelled": errors.CANCELLED}

Url = Annotated[
    str,
    typer.Option("--url", envvar="MILEPOST_URL", help="The hub's address; http, https, ws and wss are all understood."),
]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="MILEPOST_TOKEN", help="A token of the job's tenant; see `milepost token`."),
]


def watch(
    job: Annotated[str, typer.Argument(help="The job's id.", envvar="MILEPOST_JOB")],
    url: Url = hub_url.DEFAULT,
    token: Token = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            envvar="MILEPOST_WATCH_TIMEOUT",
            help="Give up when the job has not ended by then: 90s, 15m, 1h30m.",
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--json/--no-json", envvar="MILEPOST_WATCH_JSON", help="Print the hub's messages as they are."),
    ] = False,
) -> None:
    """Watch a job: bars on a terminal, lines off it.

    Exit codes: 0 the job completed, 1 it failed (or cannot be watched), 3 it was cancelled, 130 Ctrl-C.
    """
    from milepost_reporter.names import check_job

    if not token:
        raise UsageError("no token: set MILEPOST_TOKEN, or give --token; `milepost token --tenant NAME` makes one")
    try:
        job = check_job(job)
        seconds = None if timeout is None else duration.parse(timeout)
    except ValueError as error:
        raise UsageError(str(error)) from error
    address = hub_url.websocket_url(url)
    raise typer.Exit(asyncio.run(_watch(job, address, token, seconds, raw=raw)))


async def _watch(job: str, url: str, token: str, seconds: float | None, *, raw: bool) -> int:
    from milepost.watched_job import WatchedJob

    watched = WatchedJob(job)
    try:
        async with asyncio.timeout(seconds):
            with output_for(watched, raw=raw) as output:
                return await follow(watched, output, url, token)
    except TimeoutError:
        raise CommandError(f"{watched.name} has not ended within {duration.clock(seconds or 0)}") from None


def output_for(watched: WatchedJob, *, raw: bool = False, result: bool = True) -> Output:
    """What fits standard output. `result`: whether it is to show what the job has returned."""
    from milepost.watch_output import BarOutput, LineOutput, RawOutput

    if raw:
        return RawOutput()
    if sys.stdout.isatty():
        from rich.console import Console

        return BarOutput(watched, Console(), result=result)
    return LineOutput(watched, result=result)


async def follow(
    watched: WatchedJob, output: Output, url: str, token: str, *, subscribed: asyncio.Event | None = None
) -> int:
    """Show a job until it has ended; returns the exit code that says how.

    `subscribed` is set once nothing of the job can be missed any more.
    """
    from milepost_reporter.names import json_job_id

    from milepost.watch_client import WatchClient
    from milepost.watched_job import Link

    def on_link(link: Link) -> None:
        if watched.link is not link and link is Link.RECONNECTING:
            output.say("the hub is away; reconnecting")
        elif watched.link is not link and link is Link.CONNECTED:
            output.say("connected again" if watched.link is Link.RECONNECTING else f"connected to {url}")
        watched.link = link

    client = WatchClient(url, token, json_job_id(watched.job), on_link=on_link, on_raw=output.raw)
    messages = client.messages()
    try:
        async for message in messages:
            news = watched.take(message, time.monotonic(), datetime.now(UTC))
            output.told(news)
            if subscribed is not None and message.get("type") == "subscribed":
                subscribed.set()
            if news.ended:
                break
    finally:
        await messages.aclose()
    return _EXIT_CODES[watched.state.status]
