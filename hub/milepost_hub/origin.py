"""Which web pages may connect: the hub's own, and those the operator names."""

from __future__ import annotations

import re
from collections.abc import Iterable

ANY = "*"

_ORIGIN = re.compile(
    r"(?!wss?:)([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", re.ASCII | re.IGNORECASE
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535


def read_origin(text: str) -> str:
    """Return the origin as browsers write it in their `Origin` header: lower case, no default port, no slash.

    Raises:
        ValueError: for what is no origin, such as a URL with a path, a pattern, or `null`.
    """
    found = _ORIGIN.fullmatch(text)
    if found is None or int(found[3] or 0) > _LAST_PORT:
        raise ValueError(
            f"{text!r:.100} is not an origin: write it as https://app.example or http://host:3000, "
            "names with other letters in their xn-- form"
        )
    scheme, host = found[1].lower(), found[2].lower()
    port = None if found[3] is None else int(found[3])
    return f"{scheme}://{host}" if port in {None, _DEFAULT_PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


class Origins:
    """The rule for `Origin` headers of WebSocket upgrades."""

    __slots__ = ("_allowed",)

    def __init__(self, allowed: Iterable[str]) -> None:
        """Allow these besides the hub's own; `*` allows every page.

        Raises:
            ValueError: for one that is no origin.
        """
        self._allowed = frozenset(ANY if name == ANY else read_origin(name) for name in allowed)

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of `origin` may connect to the hub it addressed as `host`.

        Programs that are no browser send no origin; for them the token is what counts.
        """
        if origin is None or ANY in self._allowed:
            return True
        try:
            page = read_origin(origin)
            return page in self._allowed or (host is not None and page == _own(page, host))
        except ValueError:
            return False


def _own(page: str, host: str) -> str:
    # The scheme is the page's: behind a proxy that ends TLS the hub does not know its own.
    return read_origin(f"{page.partition(':')[0]}://{host}")
