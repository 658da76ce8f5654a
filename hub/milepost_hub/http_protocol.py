"""uvicorn's HTTP protocol on h11, with the bytes behind an upgrade passed on.

A client may send its first frame in the TCP segment of its handshake. uvicorn re-creates the upgrade request for the
WebSocket protocol and drops what h11 has read beyond it; such a frame would be lost without a trace.
"""

from __future__ import annotations

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class HttpProtocol(H11Protocol):
    """For uvicorn's `http=`."""

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, and what came with it."""
        super().handle_websocket_upgrade(event)
        trailing, _ = self.conn.trailing_data
        protocol = self.transport.get_protocol()
        if trailing and protocol is not self:
            protocol.data_received(trailing)  # type: ignore[attr-defined]  # ours, or uvicorn's: both read bytes
