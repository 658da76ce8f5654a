"""Which web pages may connect: the hub's own, and those the operator names."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Origins:
    """The rule for `Origin` headers, for WebSocket and CORS alike."""

    __slots__ = ("_allowed", "_any")

    def __init__(self, allowed: Iterable[str]) -> None:
        """Allow these besides the hub's own; `*` allows every page.

        Raises:
            ValueError: for one that is no origin, such as a URL with a path.
        """
        names = set(allowed)
        self._any = "*" in names
        self._allowed = {self._normal(name) for name in names - {"*"}}

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of `origin` may connect to the hub it addressed as `host`.

        Programs that are no browser send no origin; for them the token is what counts.
        """
        if origin is None or self._any:
            return True
        try:
            normal = self._normal(origin)
        except ValueError:
            return False
        return normal in self._allowed or (host is not None and self._is_own(normal, host))

    @staticmethod
    def _normal(origin: str) -> tuple[str, str, int]:
        parts = urlsplit(origin)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"{origin!r} is not an origin: write it as https://app.example or http://host:3000")
        return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]

    @staticmethod
    def _is_own(origin: tuple[str, str, int], host: str) -> bool:
        # The scheme is the origin's: behind a proxy that ends TLS the hub does not know its own.
        try:
            own = urlsplit(f"{origin[0]}://{host}")
            return (own.hostname, own.port or _PORTS[origin[0]]) == origin[1:]
        except ValueError:
            return False
