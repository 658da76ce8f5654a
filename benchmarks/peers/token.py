"""The token that every client of the benchmark carries, and the check the peers make of it."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import parse_qs, urlsplit

import jwt

SECRET: Final = "benchmark-secret-of-thirty-two-bytes-or-more"
TENANT: Final = "bench"


def make_token() -> str:
    """A token for the benchmark's tenant, good for an hour."""
    return jwt.encode({"tenant": TENANT, "exp": int(time.time()) + 3600}, SECRET, algorithm="HS256")


def check_target(target: str) -> str:
    """The tenant a request's target (`/ws?token=…`) may watch; jwt.InvalidTokenError when it may not."""
    token = parse_qs(urlsplit(target).query)["token"][0]
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp", "tenant"]})
    tenant: str = claims["tenant"]
    return tenant
