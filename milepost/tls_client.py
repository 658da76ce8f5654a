"""A NATS client that keeps its credentials to itself where there is no TLS."""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client
from nats.errors import Error


class TlsClient(Client):
    """Refuses a server that offers no TLS; nats-py would talk in the clear, password and all."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and not info.get("tls_required"):
            raise Error("the server offers no TLS")
        await super()._process_info(info, initial_connection)
