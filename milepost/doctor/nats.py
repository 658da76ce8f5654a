"""Is NATS there, does it let us in, and what can it do?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost.doctor.finding import Finding, Level, fail, ok, warn
from milepost.doctor.patience import PATIENCE
from milepost.doctor.streams import examine_streams
from milepost.errors import CommandError
from milepost.nats_access import NatsAccess

if TYPE_CHECKING:
    from nats.aio.client import Client


async def examine_nats(access: NatsAccess) -> list[Finding]:
    """Reachable, let in, new enough, with JetStream, and what Milepost keeps in it."""
    from milepost.nats_session import NatsSession

    try:
        async with NatsSession(access).open() as session:
            version = examine_version(session.version)
            jetstream = await _jetstream(session.client)
    except CommandError as error:
        found, _, advice = str(error).rpartition(": ")
        return [fail("NATS", found, advice)]
    findings = [ok("NATS", f"{access.shown} lets us in{', by TLS' if access.encrypted else ''}"), version, jetstream]
    # the bridge would not look at the streams of a server that is too old, and a tenant's user may not
    if version.level is Level.OK and jetstream.level is Level.OK:
        findings += await examine_streams(access)
    return findings


def examine_version(version: str) -> Finding:
    """Whether a nats-server of this version can keep the job log."""
    from milepost_reporter.jetstream.errors import ServerTooOld
    from milepost_reporter.jetstream.stream import OLDEST_SERVER, check_server

    try:
        check_server({"version": version})
    except ServerTooOld:
        wanted = ".".join(map(str, OLDEST_SERVER))
        advice = f"use nats-server {wanted} or newer: this one keeps no job log, and progress is live only"
        return fail("NATS version", version, advice)
    return ok("NATS version", version)


async def _jetstream(client: Client) -> Finding:
    from nats.errors import Error, NoRespondersError
    from nats.js.errors import APIError, ServiceUnavailableError

    away = "without it there is no job log, and progress is live only; start nats-server with --jetstream"
    try:
        info = await client.jetstream(timeout=PATIENCE).account_info()
    except (ServiceUnavailableError, NoRespondersError):
        return warn("JetStream", "is off for this account", away)
    except APIError as error:
        return warn("JetStream", f"is off for this account ({error.description})", away)
    except (Error, TimeoutError):
        return warn(
            "JetStream",
            "cannot be seen by this user",
            "nothing to do for a tenant's user; the hub's user needs an account with JetStream enabled",
        )
    return ok("JetStream", f"on, with {info.streams} streams and {info.storage:,} bytes stored")
