"""`milepost cancel`: have a job stopped, over the hub's HTTP API."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from milepost import hub_client, hub_url
from milepost.errors import UsageError
from milepost.watch import Url

Token = Annotated[
    str | None,
    typer.Option("--token", envvar="MILEPOST_TOKEN", help="A token with the scope cancel; see milepost token."),
]


def cancel(
    job: Annotated[str, typer.Argument(help="The job's id.", envvar="MILEPOST_JOB")],
    url: Url = hub_url.DEFAULT,
    token: Token = None,
) -> None:
    """Tell a job to stop, whether it waits or runs; returns when it was told.

    What comes of it, milepost watch shows.

    Exit codes: 0 it was told, 1 it was not: it has ended, nobody has heard of it, or it does not answer.
    """
    from milepost_reporter.names import check_job

    if not token:
        raise UsageError(
            "no token: set MILEPOST_TOKEN, or give --token; `milepost token --tenant NAME --scope cancel` makes one"
        )
    try:
        job = check_job(job)
    except ValueError as error:
        raise UsageError(str(error)) from error
    typer.echo(hub_client.ask("DELETE", url, f"/api/jobs/{quote(job, safe='')}", token)["status"])
