"""The hub's HTTP side and its WebSocket, and its clock against ours."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from milepost.doctor.finding import Finding, fail, ok, warn
from milepost.doctor.patience import PATIENCE

_SKEW_WARN, _SKEW_FAIL = 5.0, 60.0


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
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:  # noqa: S310 - http(s) by `hub_url`
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


async def examine_websocket(url: str, token: str) -> Finding:
    """A handshake, and the token shown to the hub as a page would show it."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    try:
        async with asyncio.timeout(PATIENCE), connect(url, compression=None) as connection:
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
