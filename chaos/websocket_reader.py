"""A reader on the WebSocket."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import ClassVar, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from chaos.dice import Dice
from chaos.reader import Reader, Target
from chaos.waiting import WaitedInVainError, until

_OPEN_SECONDS: Final = 30
_MAX_MESSAGE: Final = 4 * 1024 * 1024
_SMALL: Final = 4_096
"""Receive buffer of a slow client: the least that the kernel gives, doubled by it."""


class WebSocketReader(Reader):
    """One connection with one subscription. `mode` as the protocol has it; `slow` keeps what it buffers small."""

    transport: ClassVar[str] = "WebSocket"

    def __init__(
        self,
        name: str,
        target: Target,
        *,
        dice: Dice,
        after: str | None = None,
        mode: str = "all",
        slow: bool = False,
    ) -> None:
        super().__init__(name, target, dice=dice, after=after)
        self._mode = mode
        self._slow = slow
        self._connection: ClientConnection | None = None
        self._passed = 0
        # Cleared, it reads nothing more.
        self.reads = asyncio.Event()
        self.reads.set()

    async def quiesce(self) -> None:
        """Another action's answer comes behind everything sent so far."""
        if self.over:
            return
        goal = self._passed + 1
        try:
            # it may be on its way back
            connection = await until(lambda: self._connection, f"{self.name}: connected", 10)
            assert connection is not None
            await connection.send(json.dumps({"action": "unsubscribe", "jobId": "no-such-job"}))
            await until(lambda: self._passed >= goal, f"{self.name}: quiet", 10)
        except (ConnectionClosed, WaitedInVainError):
            return  # whatever was missing for that is found by its judge

    async def _attend(self) -> None:
        try:
            async with await self._open() as connection:
                await self._subscribe(connection)
                self._connection = connection
                await self._listen(connection)
        except ConnectionClosed as error:
            self._lost(*((error.rcvd.code, error.rcvd.reason) if error.rcvd else (None, "")))
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as error:
            self._lost(None, repr(error))
        finally:
            self._connection = None

    async def _open(self) -> ClientConnection:
        target = self.target
        options = {} if not self._slow else {"sock": await self._small_socket(), "max_queue": 1}
        return await connect(
            f"{target.url.replace('http', 'ws', 1)}/ws",
            additional_headers={"Authorization": f"Bearer {target.token}"},
            compression=None,
            open_timeout=_OPEN_SECONDS,
            ping_interval=None,
            close_timeout=2,
            max_size=_MAX_MESSAGE,
            proxy=None,
            **options,  # type: ignore[arg-type] # of connect's own
        )

    async def _small_socket(self) -> socket.socket:
        host, _, port = self.target.url.removeprefix("http://").rpartition(":")
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
        return connection

    async def _subscribe(self, connection: ClientConnection) -> None:
        action: dict[str, object] = {"action": "subscribe", "jobId": self.target.job, "mode": self._mode}
        if self.after is not None:
            action["after"] = self.after
        await connection.send(json.dumps(action))

    async def _listen(self, connection: ClientConnection) -> None:
        while True:
            await self.reads.wait()
            text = await connection.recv(decode=True)
            if self.reading.take(text) == "unsubscribed":
                self._passed += 1
