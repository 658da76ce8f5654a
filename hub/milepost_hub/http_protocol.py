"""uvicorn's HTTP protocol on h11, with the bytes behind an upgrade passed on and the query kept out of the log.

A client may send its first frame in the TCP segment of its handshake. uvicorn re-creates the upgrade request for the
WebSocket protocol and drops what h11 has read beyond it; such a frame would be lost without a trace.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


def _without_query(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True


# Not uvicorn's own logger: that one prints queries, tokens included, and may belong to another server of the program.
_access_logger = logging.getLogger("milepost.hub.access")
_access_logger.addFilter(_without_query)


class HttpProtocol(H11Protocol):
    """For uvicorn's `http=`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_logger = _access_logger
        self.access_log = config.access_log

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, and what came with it."""
        super().handle_websocket_upgrade(event)
        trailing, _ = self.conn.trailing_data
        protocol = self.transport.get_protocol()
        if trailing and protocol is not self and not self.transport.is_closing():
            protocol.data_received(trailing)  # type: ignore[attr-defined]  # ours, or uvicorn's: both read bytes
