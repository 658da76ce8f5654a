"""What brings a stream's bytes to its client: a connection of the hub's own server, or anybody's ASGI server."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from starlette.types import Receive, Send

_UNKNOWN: Final = 2**62


class StreamOf(Protocol):
    """A response without an end of its own."""

    def lost(self) -> None:
        """The client has gone."""
        ...

    def leave(self) -> None:
        """The server is going down: end when it is this client's turn."""
        ...


class Carrier(Protocol):
    """One client's way out."""

    @property
    def unsent(self) -> int:
        """Bytes of the last piece that have not left yet; more than there are when nobody can tell."""
        ...

    @property
    def aborted(self) -> bool:
        """Whether there is no use in ending the response in good order."""
        ...

    def begin_stream(self, stream: StreamOf, unsent: int) -> None:
        """From now on the stream hears of its client's end.

        unsent: bytes the kernel may hold unsent, where that can be told to it; 0 leaves the system's default.
        """
        ...

    def end_stream(self) -> None:
        """The stream is over."""
        ...

    async def carry(self, send: Send, data: bytes) -> None:
        """Return when the client has taken this piece, or the server has room for the next, or the client is gone."""
        ...

    def abort(self) -> None:
        """Give up the client at once, and whatever it has not taken."""
        ...


async def hand_over(send: Send, data: bytes) -> None:
    """One piece of the body, to the server."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


class Transport(Protocol):
    """What is asked of asyncio's, and uvloop's."""

    def abort(self) -> None:
        """Close the connection, with what it holds."""
        ...


class AsgiCarrier:
    """By the words of ASGI: `receive` tells of the client's end, `send` waits while the server has enough.

    What the server holds for a client that does not read is its own to bound: uvicorn holds 64 KiB and one piece more.
    ASGI has no word for cutting such a client off, and a server that ends its response waits for it to read, also
    when it is to stop. So where uvicorn is to be seen behind `receive`, its connection is closed.
    """

    unsent = _UNKNOWN

    def __init__(self, receive: Receive, http_version: str = "1.1") -> None:
        """http_version: the request's; from 2 on its connection is other requests' as well."""
        self.aborted = False
        self._receive = receive
        self._transport = _transport(receive) if http_version.startswith("1") else None
        self._listening: asyncio.Task[None] | None = None
        # The piece that the server is being given just now.
        self._piece: asyncio.Timeout | None = None

    def begin_stream(self, stream: StreamOf, unsent: int) -> None:
        """Listen for the client's end."""
        self._listening = asyncio.get_running_loop().create_task(self._listen(stream))

    def end_stream(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.cancel()

    async def carry(self, send: Send, data: bytes) -> None:
        """Hand it to the server, and do not wait any more once the client is given up."""
        if self.aborted:
            return
        try:
            async with asyncio.timeout(None) as self._piece:
                await hand_over(send, data)
        except TimeoutError:
            if not self.aborted:
                raise  # the server's own
        except OSError:  # as servers of ASGI 2.4 say that the client has gone
            self.aborted = True
        finally:
            self._piece = None

    def abort(self) -> None:
        """Close the connection, or have the server do it: it does when a response breaks off."""
        if self.aborted:
            return
        self.aborted = True
        if self._transport is not None:
            self._transport.abort()
        if self._piece is not None:
            self._piece.reschedule(asyncio.get_running_loop().time())

    async def _listen(self, stream: StreamOf) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.abort()
        stream.lost()


def _transport(receive: Receive) -> Transport | None:
    """That of uvicorn's request; None for other servers, and behind a middleware that puts itself in between."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    return transport if callable(getattr(transport, "abort", None)) else None
