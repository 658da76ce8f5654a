"""`milepost submit`: have a job run, over the hub's HTTP API."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from milepost import hub_client, hub_url
from milepost.errors import CommandError, UsageError
from milepost.watch import Url

Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="MILEPOST_TOKEN",
        help="A token with the scope submit; see milepost token.",
    ),
]


def submit(
    *,
    name: Annotated[str, typer.Argument(help="What is to be done: a handler's name.", envvar="MILEPOST_SUBMIT_NAME")],
    payload: Annotated[
        str,
        typer.Argument(
            help="What it is to be done with: JSON, @FILE for a file's, - for standard input's.",
            envvar="MILEPOST_SUBMIT_PAYLOAD",
        ),
    ] = "{}",
    url: Url = hub_url.DEFAULT,
    token: Token = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            envvar="MILEPOST_SUBMIT_KEY",
            help="Your own name for this submission: sent again with it, the same is the same job.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", envvar="MILEPOST_SUBMIT_WAIT", help="Watch the job, and end as it does."),
    ] = False,
) -> None:
    """Submit a job; prints its id, and nothing else, on standard output.

    With --wait it is watched, and the last line is what it returned. Ctrl-C leaves the job alone.

    Exit codes: 0 the job was taken, or completed, 1 it was not taken, or failed, 3 it was cancelled, 130 Ctrl-C.
    """
    if not token:
        raise UsageError(
            "no token: set MILEPOST_TOKEN, or give --token; `milepost token --tenant NAME --scope submit` makes one"
        )
    submission = {"name": name, "payload": _read(payload)} | ({} if key is None else {"key": key})
    try:
        taken = hub_client.ask("POST", url, "/api/jobs", token, submission)
    except hub_client.UnavailableError as error:
        advice = "submit it again with the same key" if key else "with --key it can be submitted again and be one job"
        raise CommandError(f"{error}; it may have been taken all the same: {advice}") from error
    typer.echo(taken["jobId"])
    if wait:
        sys.stdout.flush()
        raise typer.Exit(_watch(str(taken["jobId"]), url, taken.get("token") or token))


def _read(payload: str) -> Any:  # noqa: ANN401 - any JSON
    """The payload that an argument stands for. UsageError when there is none."""
    if payload == "-":
        payload = sys.stdin.read()
    elif payload.startswith("@"):
        try:
            payload = Path(payload[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{payload}: {getattr(error, 'strerror', None) or error}") from error
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the payload is not JSON: {error}; a text needs its quotes: '\"text\"'") from error


def _watch(job: str, url: str, token: str) -> int:
    """Show the job until it has ended; the exit code that says how."""
    from milepost.watch import follow, output_for
    from milepost.watched_job import WatchedJob

    watched = WatchedJob(job)
    with output_for(watched) as output:
        return asyncio.run(follow(watched, output, hub_url.websocket_url(url), token))
