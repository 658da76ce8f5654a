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


class AsgiCarrier:
    """By the words of ASGI alone: `receive` tells of the client's end, `send` waits while the server has enough.

    What the server and the kernel hold for a client that does not read is theirs to bound: uvicorn holds 64 KiB and one
    piece more.
    """

    unsent = _UNKNOWN

    def __init__(self, receive: Receive) -> None:
        self.aborted = False
        self._receive = receive
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
        """Let the server close the connection: it does when a response breaks off."""
        if self.aborted:
            return
        self.aborted = True
        if self._piece is not None:
            self._piece.reschedule(asyncio.get_running_loop().time())

    async def _listen(self, stream: StreamOf) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.abort()
        stream.lost()
