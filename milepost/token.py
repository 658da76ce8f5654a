"""`milepost token`: a token for a client of one tenant, signed with the hub's secret."""

from __future__ import annotations

from typing import Annotated

import typer

from milepost import duration, hub_url
from milepost.errors import UsageError
from milepost.verification import NEW_KEY

NO_SECRET = (
    "no secret to sign tokens with: set MILEPOST_JWT_SECRET to the one that the hub has,\n"
    f"or, before the hub is started, to a new one for both, as in\n{NEW_KEY}"
)

Secret = Annotated[
    str | None,
    typer.Option(
        "--jwt-secret",
        envvar="MILEPOST_JWT_SECRET",
        help="The hub's secret; better given by the environment, where others on the machine cannot see it.",
    ),
]


def token(
    *,
    tenant: Annotated[
        str,
        typer.Option("--tenant", envvar="MILEPOST_TENANT", help="Whose jobs the token shows."),
    ],
    job: Annotated[
        list[str] | None,
        typer.Option("--job", envvar="MILEPOST_TOKEN_JOBS", help="Good for this job only; may be given many times."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            envvar="MILEPOST_TOKEN_SCOPE",
            help="What it allows: watch, submit, cancel; may be given many times. Without it: watch.",
        ),
    ] = None,
    ttl: Annotated[
        str,
        typer.Option("--ttl", envvar="MILEPOST_TOKEN_TTL", help="How long it is good for: 90s, 15m, 1h30m, 7d."),
    ] = "1h",
    subject: Annotated[
        str | None,
        typer.Option("--subject", envvar="MILEPOST_TOKEN_SUBJECT", help="Whom it is made out to (sub)."),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option("--jwt-issuer", envvar="MILEPOST_JWT_ISSUER", help="The issuer the hub trusts (iss)."),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option("--jwt-audience", envvar="MILEPOST_JWT_AUDIENCE", help="The hub's name (aud)."),
    ] = None,
    secret: Secret = None,
    link: Annotated[
        bool,
        typer.Option(
            "--link/--no-link",
            envvar="MILEPOST_TOKEN_LINK",
            help="Print a link that opens the dashboard with the token; with one --job, that job's page.",
        ),
    ] = False,
    url: Annotated[
        str,
        typer.Option("--url", envvar="MILEPOST_URL", help="The hub's address, for --link."),
    ] = hub_url.DEFAULT,
) -> None:
    """Make a token for a client; prints it, and nothing else, on standard output."""
    from milepost_hub.token import issue

    if not secret:
        raise UsageError(NO_SECRET)
    try:
        made = issue(
            secret,
            tenant,
            jobs=[_job_id(name) for name in job] if job else None,
            scopes=scope or None,
            subject=subject,
            ttl=duration.parse(ttl),
            issuer=issuer,
            audience=audience,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    only = job[0] if job and len(job) == 1 else None
    typer.echo(hub_url.dashboard_url(url, made, only) if link else made)


def _job_id(name: str) -> int | str:
    from milepost_reporter.names import json_job_id

    return json_job_id(name)
