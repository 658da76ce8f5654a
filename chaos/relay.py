"""A TCP relay that cuts connections at byte positions chosen by chance."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final, Self

from chaos.dice import Dice

_CHUNK: Final = 16_384
_RESET: Final = struct.pack("ii", 1, 0)


class Relay:
    """Passes bytes between clients and a port. The n-th connection is cut after as many bytes to the client as the
    dice say for it; half of the cuts are a reset, half an end in the middle of a frame.

    `cuts` bounds how many are cut at all, so that a run comes to its end.
    """

    def __init__(self, target: int, dice: Dice, *, least: int, most: int, cuts: int) -> None:
        self._target = target
        self._dice = dice
        self._least = least
        self._most = most
        self._left = cuts
        self._accepted = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def budget(self, connection: int) -> tuple[int, bool]:
        """After how many bytes the n-th connection is cut, and whether by a reset."""
        dice = self._dice.branch(connection)
        return dice.whole(self._least, self._most), dice.chance(0.5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        except asyncio.CancelledError:
            return  # the relay's own end: a cancelled handler would make asyncio log an error
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self._accepted = self._accepted, self._accepted + 1
        budget, reset = self.budget(number)
        try:
            from_hub, to_hub = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return
        upward = asyncio.create_task(_pass_on(reader, to_hub))
        try:
            while chunk := await from_hub.read(_CHUNK):
                if self._left > 0 and len(chunk) > budget:
                    self._left -= 1
                    self.cut += 1
                    writer.write(chunk[:budget])
                    await writer.drain()
                    _cut(writer, reset=reset)
                    return
                budget -= len(chunk)
                writer.write(chunk)
                await writer.drain()
            await _end(writer)
        except OSError:
            return
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
            to_hub.transport.abort()


def _cut(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _end(writer: asyncio.StreamWriter) -> None:
    """What was written still arrives."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
