"""HTTP clients for many readers: httpx loads a bundle of authorities for each of its own, which takes 20 ms."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

import httpx

_NO_AUTHORITIES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def http_client(url: str, *, timeout: float, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """A client for one hub, on loopback and without TLS; `timeout` in seconds."""
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=timeout, headers=headers, verify=_NO_AUTHORITIES)
