"""`milepost doctor`: what works, what does not, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from milepost import duration, errors, hub_url, nats_access
from milepost.errors import CommandError
from milepost.nats_access import NatsAccess
from milepost.options import expand
from milepost.token import Secret
from milepost.watch import Token, Url

if TYPE_CHECKING:
    from jwt.types import Options
    from milepost_bridge.settings import BridgeSettings
    from milepost_reporter.jetstream.api import Api
    from nats.aio.client import Client

_SKEW_WARN, _SKEW_FAIL = 5.0, 60.0
_SOON: Final = 300.0
_WAIT: Final = 5.0
_DAY: Final = 86_400
_NANOSECONDS: Final = 10**9
_NO_SUCH_STREAM: Final = 10059


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """One thing looked at: what was found, and what to do about it unless it is well."""

    level: Level
    what: str
    found: str
    advice: str = ""


def ok(what: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(Level.OK, what, found)


def warn(what: str, found: str, advice: str) -> Finding:
    """It works, but not as it should."""
    return Finding(Level.WARN, what, found, advice)


def fail(what: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(Level.FAIL, what, found, advice)


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
    show = _show_json if as_json else _show
    failed = False
    async for finding in _findings(nats, root, token, secret):
        show(finding)
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


async def examine_nats(access: NatsAccess) -> list[Finding]:
    """Reachable, let in, new enough, with JetStream, and a job log in it."""
    from milepost.nats_session import NatsSession

    try:
        async with NatsSession(access).open() as session:
            version = examine_version(session.version)
            jetstream = await _jetstream(session.client)
    except CommandError as error:
        found, _, advice = str(error).rpartition(": ")
        return [fail("NATS", found, advice)]
    findings = [ok("NATS", f"{access.shown} lets us in{', by TLS' if access.encrypted else ''}"), version, jetstream]
    # the bridge would not look at the log of a server that is too old, and a tenant's user may not
    if version.level is Level.OK and jetstream.level is Level.OK:
        findings += await examine_log(access)
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
        info = await client.jetstream(timeout=_WAIT).account_info()
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


async def examine_log(access: NatsAccess) -> list[Finding]:
    """Both streams are there, as they should be, and can be read. Nothing is made or changed."""
    from milepost_bridge.settings import BridgeSettings
    from milepost_reporter.jetstream.access import servers
    from milepost_reporter.jetstream.api import Api
    from milepost_reporter.jetstream.complaints import Complaints
    from milepost_reporter.jetstream.errors import JetStreamError, StreamUnfit

    settings = BridgeSettings(**access.model_dump(exclude={"url"}, exclude_none=True), request_timeout=_WAIT)
    try:
        urls = servers(access.url)
    except ValueError as error:
        return [fail("job log", str(error), "write NATS_URL (--nats) so: `milepost serve` takes no other")]
    connected = asyncio.Event()
    api = Api(urls, settings, connected.set, Complaints(logging.getLogger(__name__)))
    api.start()
    try:
        async with asyncio.timeout(_WAIT):
            await connected.wait()
        return await _log(api, settings)
    except StreamUnfit as error:
        return [fail("job log", str(error), "until then progress is live only")]
    except (JetStreamError, TimeoutError) as error:
        advice = "is nats-server busy, or its cluster without a leader? Its log says more"
        return [fail("job log", f"cannot be read ({error or 'no answer in time'})", advice)]
    finally:
        await api.close()


async def _log(api: Api, settings: BridgeSettings) -> list[Finding]:
    from milepost_bridge.streams import LOG, STATE, ensure

    log, state = await _stream(api, LOG), await _stream(api, STATE)
    if log is None or state is None:
        missing = " and ".join(name for name, info in ((LOG, log), (STATE, state)) if info is None)
        advice = "`milepost serve` makes both streams; if it runs, its log says why it could not"
        return [warn("job log", f"there is no stream {missing}", advice)]
    # how long and how much is kept is the operator's choice, and the log's is what the records are held against
    compared = await ensure(api, settings.model_copy(update=_chosen(log["config"])))
    await api.direct_get(LOG, seq=log["state"]["first_seq"], next_by_subj=">", batch=1)
    findings = [ok("job log", f"{_stored(log)}; {_retention(log['config'])}")]
    if compared.differences:
        advice = "`milepost serve --bridge-log-update`, once, makes the streams as they should be"
        findings.append(warn("log settings", "; ".join(compared.differences), advice))
    return findings


async def _stream(api: Api, name: str) -> dict[str, Any] | None:
    from milepost_reporter.jetstream.errors import Refused

    try:
        return await api.request(f"$JS.API.STREAM.INFO.{name}")
    except Refused as refused:
        if refused.err_code == _NO_SUCH_STREAM:
            return None
        raise


def _stored(info: dict[str, Any]) -> str:
    return f"holds {info['state']['messages']:,} events in {info['state']['bytes']:,} bytes"


def _retention(config: dict[str, Any]) -> str:
    age, most = config["max_age"] / _NANOSECONDS / _DAY, config["max_bytes"]
    bound = f" in {most:,} bytes" if most > 0 else ""
    each = config["max_msgs_per_subject"]
    return (
        f"keeps {f'{each:,}' if each > 0 else 'all'} of a job{bound}, {f'for {age:.3g} days' if age else 'for ever'}, "
        f"{config['num_replicas']} on disk"
    )


def _chosen(config: dict[str, Any]) -> dict[str, Any]:
    """A stream's retention as the bridge's settings say it, as far as they could."""
    chosen = {
        "log_max_bytes": max(config["max_bytes"], 0),
        "log_replicas": config["num_replicas"],
        "log_max_age": config["max_age"] / _NANOSECONDS,
        "log_events_per_job": config["max_msgs_per_subject"],
    }
    return {name: value for name, value in chosen.items() if value > 0 or name == "log_max_bytes"}


class HubExam(NamedTuple):
    """What the hub's HTTP side said."""

    reached: bool
    findings: list[Finding]


class Answer(NamedTuple):
    """An HTTP answer, with the time at its middle by our clock."""

    status: int
    body: str
    date: str | None
    at: float


async def examine_hub(root: str) -> HubExam:
    """Alive, ready, and its clock against ours."""
    try:
        health = await asyncio.to_thread(_get, f"{root}/healthz")
    except OSError as error:
        advice = "is `milepost serve` running, and is MILEPOST_URL (--url) right?"
        return HubExam(False, [fail("hub", f"{root} cannot be reached ({error})", advice)])
    if health.status != 200:  # noqa: PLR2004
        advice = "is MILEPOST_URL (--url) the address of a hub?"
        return HubExam(False, [fail("hub", f"{root}/healthz answered {health.status}", advice)])
    findings = [ok("hub", f"{root} is alive")]
    findings.append(_readiness(await asyncio.to_thread(_get, f"{root}/readyz")))
    findings += _clock(health)
    return HubExam(True, findings)


def _get(url: str) -> Answer:
    import urllib.error
    import urllib.request

    before = time.time()
    try:
        with urllib.request.urlopen(url, timeout=_WAIT) as response:  # noqa: S310 - http(s) by `hub_url`
            status, body, date = response.status, response.read(65_536), response.headers.get("Date")
    except urllib.error.HTTPError as error:
        with error:
            status, body, date = error.code, error.read(65_536), error.headers.get("Date")
    except urllib.error.URLError as error:
        raise OSError(str(error.reason)) from error
    return Answer(status, body.decode(errors="replace"), date, (before + time.time()) / 2)


def _readiness(ready: Answer) -> Finding:
    if ready.status == 200:  # noqa: PLR2004
        return ok("hub ready", _reason(ready.body) or "yes")
    advice = "see the reason, and the hub's log; it reaches NATS with NATS_URL and the credentials beside it"
    return fail("hub ready", f"no: {_reason(ready.body) or f'HTTP {ready.status}'}", advice)


def _reason(body: str) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return body[:200].strip()
    if not isinstance(answer, dict):
        return ""
    told = ((name, value) for name, value in answer.items() if name not in ("type", "status") and value is not None)
    return "; ".join(f"{name} {_word(value)}" for name, value in told)


def _word(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _clock(answer: Answer) -> list[Finding]:
    try:
        theirs = parsedate_to_datetime(answer.date or "").timestamp()
    except (TypeError, ValueError):
        return [warn("clock", "the hub's answer carries no date", "a proxy may have taken it out")]
    # the header has whole seconds: on average it is half a second behind
    skew = theirs + 0.5 - answer.at
    found = f"the hub's differs from this machine's by {abs(skew):.0f} s"
    advice = "set both clocks by NTP: tokens expire early, or too late, by that much"
    if abs(skew) >= _SKEW_FAIL:
        return [fail("clock", found, advice)]
    return [warn("clock", found, advice)] if abs(skew) >= _SKEW_WARN else [ok("clock", "the hub's and ours agree")]


def examine_token(token: str, secret: str | None, now: float) -> list[Finding]:
    """What it says, and whether it is signed with the secret, when that is known."""
    import jwt

    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        return [fail("token", f"cannot be read: {error}", "make one with `milepost token --tenant NAME`")]
    return [*_signature(token, secret), *_says(claims), *_times(claims, now)]


def _signature(token: str, secret: str | None) -> list[Finding]:
    import jwt

    if secret is None or jwt.get_unverified_header(token).get("alg") != "HS256":
        return []
    try:
        jwt.decode(token, secret, algorithms=["HS256"], options=_SIGNATURE_ONLY)
    except jwt.PyJWTError:
        advice = "the hub and whoever made the token must have the same MILEPOST_JWT_SECRET"
        return [fail("token signature", "is not by MILEPOST_JWT_SECRET", advice)]
    return [ok("token signature", "is by MILEPOST_JWT_SECRET")]


_SIGNATURE_ONLY: Final[Options] = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _says(claims: dict[str, Any]) -> list[Finding]:
    tenant = claims.get("tenant")
    if not isinstance(tenant, str) or not tenant:
        return [fail("token", "names no tenant", "the claim `tenant` is needed; see `milepost token`")]
    jobs, scope = claims.get("jobs"), claims.get("scope", "watch")
    which = "every job" if jobs is None else f"jobs {', '.join(map(str, jobs))}" if isinstance(jobs, list) else "?"
    words = scope.split() if isinstance(scope, str) else scope
    found = f"for tenant {tenant}, {which}, to {', '.join(map(str, words))}"
    if "watch" not in words:
        return [warn("token", found, "it does not allow watching: make one with --scope watch")]
    return [ok("token", found)]


def _times(claims: dict[str, Any], now: float) -> list[Finding]:
    expires, issued = claims.get("exp"), claims.get("iat")
    if not isinstance(expires, int | float):
        return [fail("token expiry", "there is none", "the claim `exp` is needed")]
    findings = []
    if isinstance(issued, int | float) and issued > now + _SKEW_WARN:
        found = f"was made {duration.clock(issued - now)} from now"
        findings.append(warn("token clock", found, "set the clock of whoever makes tokens by NTP"))
    until = f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if expires <= now:
        findings.append(fail("token expiry", f"it expired at {until}", "make a new one; `milepost token --ttl 7d`"))
    elif expires - now < _SOON:
        findings.append(warn("token expiry", f"in {duration.clock(expires - now)}", "make a new one soon"))
    else:
        findings.append(ok("token expiry", until))
    return findings


async def examine_websocket(url: str, token: str) -> Finding:
    """A handshake, and the token shown to the hub as a page would show it."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    try:
        async with asyncio.timeout(_WAIT), connect(url, compression=None) as connection:
            await connection.send(json.dumps({"action": "auth", "token": token}))
            answer = json.loads(await connection.recv())
    except (OSError, TimeoutError, ValueError, WebSocketException) as error:
        why = str(error) or "no answer in time"
        advice = "does a proxy between here and the hub pass on WebSocket upgrades?"
        return fail("WebSocket", f"{url} does not work ({why})", advice)
    if answer.get("type") == "authenticated":
        return ok("WebSocket", f"{url} takes the token")
    return fail(
        "WebSocket",
        f"{url} refused the token: {answer.get('message', answer)}",
        "make one with the hub's own key",
    )


_COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


def _show(finding: Finding) -> None:
    mark = typer.style(f"{finding.level.value:<4}", fg=_COLOURS[finding.level], bold=True)
    typer.echo(f"{mark}  {finding.what + ':':<17} {finding.found}")
    if finding.advice:
        typer.echo(f"      {'':<17} → {finding.advice}")


def _show_json(finding: Finding) -> None:
    sys.stdout.write(json.dumps({**finding._asdict(), "level": finding.level.value}) + "\n")
