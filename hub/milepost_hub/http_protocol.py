"""uvicorn's HTTP protocol on h11, with the bytes behind an upgrade passed on, and the query kept out of the log.

A client may send its first frame in the TCP segment of its handshake. uvicorn re-creates the upgrade request for the
WebSocket protocol and drops what h11 has read beyond it; such a frame would be lost without a trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import h11
from starlette.types import Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from milepost_hub.carrier import StreamOf, hand_over


def _without_query(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True


# Not uvicorn's own logger: that one prints queries, tokens included, and may belong to another server of the program.
_access_logger = logging.getLogger("milepost.hub.access")
_access_logger.addFilter(_without_query)


PROTOCOL = "milepost.protocol"
"""Where a request's `state` has the protocol that read it."""

_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class HttpProtocol(H11Protocol):
    """For uvicorn's `http=`; the `Carrier` of the streams it serves."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, PROTOCOL: self}, _loop)
        self._stream: StreamOf | None = None
        self.access_logger = _access_logger
        self.access_log = config.access_log

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over, and what came with it."""
        super().handle_websocket_upgrade(event)
        trailing, _ = self.conn.trailing_data
        protocol = self.transport.get_protocol()
        if trailing and protocol is not self and not self.transport.is_closing():
            protocol.data_received(trailing)  # type: ignore[attr-defined]  # ours, or uvicorn's: both read bytes

    def begin_stream(self, stream: StreamOf, unsent: int) -> None:
        """From now on the transport keeps nothing that it cannot send, and the stream hears of the connection's end.

        unsent: bytes the kernel may hold unsent; 0 leaves the system's default.
        """
        self._stream = stream
        if self.transport.is_closing():
            stream.lost()
            return
        self.transport.set_write_buffer_limits(high=0)
        sock = self.transport.get_extra_info("socket")
        if sock is not None and unsent:
            with contextlib.suppress(OSError):  # a system without it only buffers more
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, unsent)

    def end_stream(self) -> None:
        """The stream is over; the connection may serve another request."""
        self._stream = None
        if not self.transport.is_closing():
            self.transport.set_write_buffer_limits()

    @property
    def unsent(self) -> int:
        """What the transport holds."""
        return self.transport.get_write_buffer_size()

    @property
    def aborted(self) -> bool:
        """Never told: uvicorn passes over what is written to a connection that is closing."""
        return False

    async def carry(self, send: Send, data: bytes) -> None:
        """Return when all of it has left."""
        await hand_over(send, data)
        await self.flow.drain()

    def abort(self) -> None:
        """Close the connection, with what it holds."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell a stream that its client has gone."""
        super().connection_lost(exc)
        if self._stream is not None:
            self._stream.lost()

    def shutdown(self) -> None:
        """Have a stream end in good order."""
        super().shutdown()
        if self._stream is not None:
            self._stream.leave()
