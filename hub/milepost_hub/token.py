"""A JWT in, a `Grant` out, or a reason why not; and the making of tokens for whoever holds the secret."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import jwt
from jwt import InvalidSignatureError, PyJWS, PyJWTError

from milepost_hub.errors import TokenError
from milepost_hub.grant import SCOPES, Grant
from milepost_hub.key import SECRET_ALGORITHM, secret_bytes
from milepost_hub.keys import KeySource

MAX_TOKEN_CHARS = 16_384
"""Longer ones are refused unread: the work a stranger can cause must have a bound."""
MAX_TIME = 253_402_300_799
"""The end of the year 9999, in unix seconds; a time claim beyond it is milliseconds, or nonsense."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_JSON_SAFE = 2**53
_jws = PyJWS()
# Every client has scopes, and hardly any two differ: one set for all of them.
_SAME: dict[frozenset[str], frozenset[str]] = {}

Claims = dict[str, Any]


class Verifier:
    """Verifies tokens against a key source, and against an issuer and an audience where these are given.

    `leeway`, in seconds, forgives clocks that differ: a token starts that much earlier and ends that much
    later. Without `audience` the claim `aud` is not looked at, nor `iss` without `issuer`; `iat` never is.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self.issuer = issuer
        self.audience = audience
        self.leeway = leeway
        self._clock = clock

    def verify(self, token: str) -> Grant:
        """What the token allows. Does no I/O.

        Raises:
            KeysNotReady: no key at hand verifies it, but there may be newer ones: await `KeySource.refresh`,
                then verify once more.
            TokenError: it is refused, with the reason. Never anything else, whatever the token is.
        """
        claims = _parse(self._authentic(token))
        self._check_times(claims)
        self._check_parties(claims)
        return _grant(claims, self.leeway)

    async def refresh(self) -> None:
        """Read the keys again, after `KeysNotReady`. Never raises."""
        await self._keys.refresh()

    def _authentic(self, token: str) -> bytes:
        algorithm, kid = _header(token)
        for key in self._keys.find(algorithm, kid):
            try:
                # The key's algorithm, not the token's: equal here, and it must never matter.
                return bytes(_jws.decode_complete(token, key.material, [key.algorithm])["payload"])
            except InvalidSignatureError:
                continue
            except PyJWTError as error:
                raise _malformed() from error
        raise self._keys.refusal(algorithm, kid)

    def _check_times(self, claims: Claims) -> None:
        now = self._clock()
        if _time(claims, "exp") + self.leeway <= now:
            raise TokenError("token_expired", "The token has expired: get a new one.")
        if "nbf" in claims and _time(claims, "nbf") - self.leeway > now:
            raise TokenError("token_not_yet_valid", "The token is not valid yet: check the clocks, or wait.")

    def _check_parties(self, claims: Claims) -> None:
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise TokenError("bad_issuer", "The token's iss claim is not the issuer this hub trusts.")
        audience = claims.get("aud")
        if self.audience is not None and self.audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenError("bad_audience", "The token's aud claim does not name this hub.")


def issue(
    secret: str,
    tenant: str,
    *,
    jobs: Iterable[str | int] | None = None,
    scopes: Iterable[str] | None = None,
    subject: str | None = None,
    ttl: float = 3600.0,
    not_beyond: float | None = None,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """A token signed with the shared secret (HS256), good for `ttl` seconds from now.

    not_beyond: never longer than up to this time, in unix seconds.

    Raises:
        ValueError: an argument would make a token that no hub accepts; the message says which.
    """
    if not 0 < ttl <= MAX_TIME:
        raise ValueError("a token lives longer than 0 seconds, and not for ever")
    now = time.time()
    expires_at = math.ceil(now + ttl)
    if not_beyond is not None:
        expires_at = min(expires_at, math.floor(not_beyond))
    claims: Claims = {"tenant": tenant, "iat": int(now), "exp": expires_at}
    optional = {
        "jobs": None if jobs is None else list(jobs),
        "scope": None if scopes is None else " ".join(scopes),
        "sub": subject,
        "iss": issuer,
        "aud": audience,
    }
    claims |= {name: value for name, value in optional.items() if value is not None}
    if unknown := set(claims.get("scope", "").split()) - SCOPES:
        raise ValueError(f"no such scope: {', '.join(sorted(unknown))}; there are {', '.join(sorted(SCOPES))}")
    try:
        _grant(claims, 0)
    except TokenError as error:
        raise ValueError(error.message) from error
    return jwt.encode(claims, secret_bytes(secret), SECRET_ALGORITHM)


def _header(token: str) -> tuple[str, str | None]:
    if not token:
        raise TokenError("token_missing", "There is no token: send one as ?token=, as Bearer, or as an auth message.")
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenError("token_malformed", f"The token is longer than {MAX_TOKEN_CHARS} characters.")
    if not token.isascii():
        raise _malformed()
    try:
        header = _jws.get_unverified_header(token)
    except PyJWTError as error:
        raise _malformed() from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise _malformed()
    return algorithm, header.get("kid")


def _parse(payload: bytes) -> Claims:
    try:
        claims = json.loads(payload, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    if not isinstance(claims, dict):
        raise _malformed()
    return claims


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _grant(claims: Claims, leeway: float) -> Grant:
    return Grant(
        tenant=_tenant(claims),
        expires_at=_time(claims, "exp") + leeway,
        subject=_subject(claims),
        jobs=_jobs(claims),
        scopes=_scopes(claims),
    )


def _time(claims: Claims, name: str) -> float:
    value = claims.get(name)
    # A bool is an int to Python, and no time to JSON.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
        raise _bad_claim(name, "a time in unix seconds")
    return float(value)


def _tenant(claims: Claims) -> str:
    value = claims.get("tenant")
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _bad_claim("tenant", "1 to 64 of the characters A-Z a-z 0-9 _ -")
    return value


def _subject(claims: Claims) -> str | None:
    if "sub" not in claims:
        return None
    value = claims["sub"]
    # JSON can spell half a surrogate pair, which nothing could write down again.
    if not isinstance(value, str) or value.encode("utf-8", "ignore").decode() != value:
        raise _bad_claim("sub", "text")
    return value


def _jobs(claims: Claims) -> frozenset[str] | None:
    if "jobs" not in claims:
        return None
    value = claims["jobs"]
    if not isinstance(value, list):
        raise _bad_claim("jobs", "a list of job ids")
    return frozenset(_job(item) for item in value)


def _job(value: object) -> str:
    """A job id as in NATS subjects: numbers below 2**53 and names are both allowed in the list."""
    if type(value) is int and 0 <= value < _JSON_SAFE:
        return str(value)
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise _bad_claim("jobs", "a list of job ids: numbers below 2^53, or 1 to 64 of A-Z a-z 0-9 _ -")


def _scopes(claims: Claims) -> frozenset[str]:
    value = claims.get("scope", "watch")
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _bad_claim("scope", "words with a space between them, or a list of words")
    scopes = SCOPES.intersection(words)
    return _SAME.setdefault(scopes, scopes)


def _bad_claim(name: str, expected: str) -> TokenError:
    return TokenError("bad_claim", f"The token's {name} claim must be {expected}.")


def _malformed() -> TokenError:
    return TokenError("token_malformed", "The token is not a JWT: three parts of base64url with dots between them.")
