"""A WebSocket client over a plain socket: RFC 6455 written out, and nothing behind the test's back.

It reads only when told to, so that it can be as slow as a test wants, and writes exactly the bytes it is given, in the
pieces it is given. Pings are answered only while a message is waited for, as by a page whose program is at work.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

PATIENCE = 10.0
"""Seconds after which a test has waited in vain."""

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Frame(NamedTuple):
    """One frame of the server, as read."""

    fin: bool
    opcode: int
    data: bytes


class Response(NamedTuple):
    """The head of an HTTP response, names in lower case, and its body as far as `content-length` says."""

    status: int
    headers: dict[str, str]
    body: bytes


class Closed(Exception):  # noqa: N818 - told, not failed
    """The server has sent a closing frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def frame(data: bytes, opcode: int = TEXT, *, fin: bool = True, mask: bool = True, reserved: int = 0) -> bytes:
    """One client frame as bytes (RFC 6455, section 5.2)."""
    head, masked = fin << 7 | reserved << 4 | opcode, mask << 7
    if len(data) < 126:
        start = struct.pack("!BB", head, masked | len(data))
    elif len(data) < 65_536:
        start = struct.pack("!BBH", head, masked | 126, len(data))
    else:
        start = struct.pack("!BBQ", head, masked | 127, len(data))
    if not mask:
        return start + data
    key = os.urandom(4)
    return start + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(data))


def upgrade(path: str = "/ws", headers: Mapping[str, str | None] | None = None, *, method: str = "GET") -> bytes:
    """An upgrade request; a header of None is left out, others are added or take the place of the usual ones."""
    fields: dict[str, str | None] = {
        "Host": "hub.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes ok").decode(),
        "Sec-WebSocket-Version": "13",
    }
    fields |= headers or {}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


def accepts(response: Response) -> bool:
    """Whether the response is the right answer to `upgrade()`'s key (RFC 6455, section 4.2.2)."""
    key = base64.b64encode(b"sixteen bytes ok")
    right = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID).digest()).decode()  # noqa: S324 - the RFC's choice
    return response.status == 101 and response.headers["sec-websocket-accept"] == right


class RawClient:
    """One TCP connection to the hub. `async with` closes the socket, without a closing frame."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.appetite = 65_536
        """Bytes it reads at once, at most."""
        self._read = bytearray()

    @classmethod
    async def open(cls, port: int, *, receive_buffer: int | None = None) -> RawClient:
        """Connect, with a small kernel buffer for what the hub sends if asked for."""
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    @classmethod
    async def connect(
        cls,
        port: int,
        token: str | None = None,
        headers: Mapping[str, str | None] | None = None,
        *,
        receive_buffer: int | None = None,
    ) -> RawClient:
        """Connect and shake hands, with the token in the URL as the original client has it."""
        client = await cls.open(port, receive_buffer=receive_buffer)
        try:
            await client.write(upgrade("/ws" if token is None else f"/ws?token={token}", headers))
            response = await client.response()
            assert accepts(response), response
        except BaseException:
            client.close()
            raise
        return client

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go, with no word to the hub."""
        self.socket.close()

    # -- bytes ------------------------------------------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Send these bytes, in one segment if they fit."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read_some(self) -> int:
        """Read once from the socket; return how many bytes, 0 at the end."""
        async with asyncio.timeout(PATIENCE):
            data = await asyncio.get_running_loop().sock_recv(self.socket, self.appetite)
        await asyncio.sleep(0)  # reading what is there already never waits, and the hub is to have its turn
        self._read += data
        return len(data)

    async def _bytes(self, count: int) -> bytes:
        while len(self._read) < count:
            if not await self.read_some():
                raise EOFError(f"the hub has closed; left over: {bytes(self._read)!r}")
        data = bytes(self._read[:count])
        del self._read[:count]
        return data

    async def at_end(self) -> bool:
        """Whether the hub closes without another byte."""
        try:
            return not self._read and await self.read_some() == 0
        except ConnectionResetError:
            return True

    # -- HTTP -------------------------------------------------------------------------------------------------------

    async def response(self) -> Response:
        """Read one HTTP response."""
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            if not await self.read_some():
                raise EOFError("the hub has closed before it answered")
        first, *lines = (await self._bytes(end + 4)).decode().rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Response(int(first.split()[1]), headers, await self._bytes(int(headers.get("content-length", 0))))

    # -- frames -----------------------------------------------------------------------------------------------------

    async def frame(self) -> Frame:
        """Read one frame; EOFError when the hub has closed."""
        first, second = await self._bytes(2)
        assert not second & 0x80, "a server does not mask"
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self._bytes(2))
        elif size == 127:
            size = int.from_bytes(await self._bytes(8))
        return Frame(bool(first & 0x80), first & 0x7F, await self._bytes(size))

    async def send(self, message: object) -> None:
        """Send one message as JSON text."""
        await self.write(frame(json.dumps(message).encode()))

    async def text(self) -> bytes:
        """Read the next text message, answering pings; Closed when a closing frame comes instead."""
        while True:
            got = await self.frame()
            assert got.fin
            if got.opcode == TEXT:
                return got.data
            if got.opcode == PING:
                await self.write(frame(got.data, PONG))
            elif got.opcode == CLOSE:
                raise Closed(int.from_bytes(got.data[:2]), got.data[2:].decode())

    async def message(self) -> dict[str, Any]:
        """Read the next message."""
        message = json.loads(await self.text())
        assert isinstance(message, dict)
        return message

    async def until(self, kind: str) -> dict[str, Any]:
        """Read until a message of this type; return it."""
        while (message := await self.message())["type"] != kind:
            pass
        return message

    async def rest(self) -> tuple[list[dict[str, Any]], Closed]:
        """Read all messages up to the closing frame, answer that, and see the hub close the connection."""
        messages = []
        while True:
            try:
                messages.append(await self.message())
            except Closed as closed:
                await self.write(frame(struct.pack("!H", 1000), CLOSE))
                assert await self.at_end()
                return messages, closed

    async def closed(self) -> Closed:
        """Read up to the closing frame, and return it."""
        return (await self.rest())[1]

    async def subscribe(self, job: int | str, **more: object) -> dict[str, Any]:
        """Subscribe, and return the answer; the snapshot, or the end of a list that nobody keeps, is read with it."""
        await self.send({"action": "subscribe", "jobId": job, **more})
        while (message := await self.message())["type"] not in {"subscribed", "error"}:
            pass
        if message["type"] == "subscribed" and job != "*" and "after" not in more:
            snapshot = await self.message()
            assert (snapshot["type"], snapshot["jobId"]) == ("job.snapshot", message["jobId"])
        if message["type"] == "subscribed" and job == "*" and not message["durable"]:
            assert await self.message() == {"type": "listed", "jobId": "*", "count": 0, "durable": False}
        return message
