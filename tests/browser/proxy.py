"""A TCP proxy before a hub that spoils connections in the ways proxies, tunnels and sleeping laptops do."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Final, Self

_END_OF_HEAD: Final = b"\r\n\r\n"
_REFUSAL: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes requests on, one a connection, and upgraded connections as they are."""

    def __init__(self, port: int) -> None:
        self.drops_upgrades = False
        """Whether an upgrade is answered as by a proxy that knows none."""
        self.holds_streams = False
        """Whether an event stream's head comes, and its body never."""
        self.swallows = False
        """Whether new connections are black holes from their first byte on."""
        self.upgrades = 0
        """Upgrades asked for so far."""
        self.streams = 0
        """Event streams asked for so far."""
        self._target = port
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """Every connection is a black hole from now on: nothing comes through, and no end of it is told."""
        self.swallows = True
        for pipe in self._pipes:
            pipe.frozen = True

    def thaw(self) -> None:
        """New connections come through again; those that are black holes stay what they are."""
        self.swallows = False

    def cut(self) -> None:
        """Break every connection there is."""
        for pipe in list(self._pipes):
            pipe.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
            # what was written last still goes out
            writer.close()
        except asyncio.CancelledError:
            # a handler that ends so would make asyncio log an error
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(_END_OF_HEAD)
        upgrade = b"\r\nupgrade: websocket\r\n" in head.lower()
        stream = b"/stream" in head.partition(b"\r\n")[0]
        self.upgrades += upgrade
        self.streams += stream
        if self.swallows:
            await asyncio.Event().wait()
        if upgrade and self.drops_upgrades:
            writer.write(_REFUSAL)
            await writer.drain()
            return
        if not upgrade:
            # the next request comes on a connection of its own, and is looked at too
            head = head.replace(b"\r\nConnection: keep-alive\r\n", b"\r\nConnection: close\r\n")
        from_hub, to_hub = await asyncio.open_connection("127.0.0.1", self._target)
        pipe = _Pipe(writer, to_hub)
        self._pipes.add(pipe)
        try:
            to_hub.write(head)
            if stream and self.holds_streams:
                writer.write(await from_hub.readuntil(_END_OF_HEAD))
                pipe.holds = True
            await pipe.run(reader, from_hub)
        finally:
            self._pipes.discard(pipe)
            to_hub.transport.abort()


class _Pipe:
    """One connection of a client, and the one to the hub that belongs to it."""

    def __init__(self, to_client: asyncio.StreamWriter, to_hub: asyncio.StreamWriter) -> None:
        self.frozen = False
        self.holds = False
        self._to_client = to_client
        self._to_hub = to_hub

    async def run(self, from_client: asyncio.StreamReader, from_hub: asyncio.StreamReader) -> None:
        """Pass on what comes until one end has gone; for ever, when it is frozen."""
        both = {
            asyncio.ensure_future(self._pass_on(from_client, self._to_hub, to_client=False)),
            asyncio.ensure_future(self._pass_on(from_hub, self._to_client, to_client=True)),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self.frozen:
                # whoever has gone, the other end does not hear of it
                await asyncio.Event().wait()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_client: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                if not self.frozen and not (to_client and self.holds):
                    writer.write(chunk)
                    await writer.drain()

    def abort(self) -> None:
        """Break it at once."""
        self._to_client.transport.abort()
        self._to_hub.transport.abort()
