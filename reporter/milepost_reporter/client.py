"""nats-py's client, keeping secrets from a server without TLS.

nats-py 2.16 goes on in the clear, credentials and all, when TLS was asked for and the server offers none.
"""

from typing import Any

from nats.aio.client import Client
from nats.errors import Error


class SecureClient(Client):
    """A client that refuses a server without TLS, before it sends a word, when `tls` says that it must have it."""

    def __init__(self, *, tls: bool) -> None:
        super().__init__()
        self._tls_asked = tls

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self._tls_asked and initial_connection and not info.get("tls_required"):
            if self._transport is not None:
                # when it may not try again, nats-py itself leaves the connection open
                self._transport.close()  # type: ignore[no-untyped-call]
            raise Error("the server offers no TLS")
        await super()._process_info(info, initial_connection)

    @property
    def has_jetstream(self) -> bool:
        """Whether the server that it is connected to has JetStream."""
        return bool(self._server_info.get("jetstream"))

    @property
    def is_clustered(self) -> bool:
        """Whether that server is one of a cluster, a leaf node or behind a gateway: all of them name a cluster."""
        return bool(self._server_info.get("cluster"))
