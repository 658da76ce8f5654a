"""What a token says, and whether it is good."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from milepost import duration
from milepost.doctor.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from jwt.types import Options

_AHEAD: Final = 5.0
_SOON: Final = 300.0


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
    if isinstance(issued, int | float) and issued > now + _AHEAD:
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
