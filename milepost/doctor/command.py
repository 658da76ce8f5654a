"""The command: everything looked at, one after the other, and told as it is found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from milepost import errors, hub_url, nats_access
from milepost.doctor.finding import Finding, Level, show, show_json, warn
from milepost.doctor.hub import examine_hub, examine_websocket
from milepost.doctor.nats import examine_nats
from milepost.doctor.token import examine_token
from milepost.nats_access import NatsAccess
from milepost.options import expand
from milepost.token import Secret
from milepost.watch import Token, Url


@expand({NatsAccess: nats_access.GROUP})
def doctor(
    nats: NatsAccess,
    url: Url = hub_url.DEFAULT,
    token: Token = None,
    secret: Secret = None,
    as_json: Annotated[
        bool,
        typer.Option("--json/--no-json", envvar="MILEPOST_DOCTOR_JSON", help="Print a JSON object a line."),
    ] = False,
) -> None:
    """Check NATS, the hub, the token and the clocks; say what is wrong and what to do.

    Exit codes: 0 when nothing failed (there may be warnings), 1 when something did.
    """
    root = hub_url.http_url(url)
    failed = asyncio.run(_examine(nats, root, token or None, secret or None, as_json=as_json))
    raise typer.Exit(errors.FAILED if failed else errors.OK)


async def _examine(nats: NatsAccess, root: str, token: str | None, secret: str | None, *, as_json: bool) -> bool:
    tell = show_json if as_json else show
    failed = False
    async for finding in _findings(nats, root, token, secret):
        tell(finding)
        failed = failed or finding.level is Level.FAIL
    return failed


async def _findings(nats: NatsAccess, root: str, token: str | None, secret: str | None) -> AsyncIterator[Finding]:
    for finding in await examine_nats(nats):
        yield finding
    hub = await examine_hub(root)
    for finding in hub.findings:
        yield finding
    if token is None:
        yield warn(
            "token",
            "none given, so the WebSocket is not tried",
            "set MILEPOST_TOKEN to try one; see `milepost token`",
        )
        return
    for finding in examine_token(token, secret, time.time()):
        yield finding
    if hub.reached:
        yield await examine_websocket(hub_url.websocket_url(root), token)
