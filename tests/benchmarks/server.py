"""A WebSocket server for one client that sends exactly the bytes a test tells it to."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

from websockets.frames import Frame, Opcode

from benchmarks.contestant import Contestant, Running
from benchmarks.load import LoadClient

JOB = 7
TAIL = (
    b',"nodeId":1,"nodeName":"DB Input","status":"running","rowCount":5000,'
    b'"message":"Processing rows of the table that the benchmark reads from top to bottom"}'
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def payload(sequence: int, job: int = JOB) -> bytes:
    """An event as the publisher writes it."""
    return b'{"s":%d,"t":1,"j":%d' % (sequence, job) + TAIL


def message(sequence: int, job: int = JOB, more: bytes = b"") -> bytes:
    """An event as the hub sends it."""
    return b'{"type":"job.progress","jobId":%d,"payload":%s%s}' % (job, payload(sequence, job), more)


def text(data: bytes, *, fin: bool = True, opcode: Opcode = Opcode.TEXT, mask: bool = False) -> bytes:
    """One frame of it."""
    return Frame(opcode, data, fin=fin).serialize(mask=mask)


def binary(data: bytes) -> bytes:
    """One binary frame, as nats-server's gateway sends them."""
    return text(data, opcode=Opcode.BINARY)


class Server:
    """Listens for the load client, shakes hands and confirms its subscription; `with` ends both."""

    def __init__(self, dialect: str = "json", handshake: bytes = ACCEPTED) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        first = "SUB @\r\nPING\r\n" if dialect == "nats" else '{"action":"subscribe","jobId":@}'
        to = Running(Contestant.HUB, 0, 0, 0, port, dialect, "/ws", first)
        self.client = LoadClient(to, clients=1, jobs=1, first_job=JOB)
        self.socket, _ = self._listener.accept()
        self.socket.settimeout(10)
        self._read_until(b"\r\n\r\n")
        self.socket.sendall(handshake)
        if handshake is ACCEPTED:
            self.subscription = self.read_frame()
            confirmed = text(b'{"type":"subscribed","jobId":7}') if dialect == "json" else binary(b"PONG\r\n")
            self.socket.sendall(confirmed)
            self.client.wait_until_subscribed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(kind, error, trace)
        self.socket.close()
        self._listener.close()

    def send(self, *chunks: bytes) -> None:
        """Send each chunk in a segment of its own, if the kernel will."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for chunk in chunks:
            self.socket.sendall(chunk)

    def read_frame(self) -> bytes:
        """The payload of the client's next frame, unmasked; shorter than 126 bytes."""
        head = self._read(2)
        mask = self._read(4)
        return bytes(byte ^ mask[place % 4] for place, byte in enumerate(self._read(head[1] & 0x7F)))

    def _read(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            more = self.socket.recv(count - len(got))
            assert more, "the load client left"
            got += more
        return got

    def _read_until(self, end: bytes) -> None:
        got = b""
        while not got.endswith(end):
            got += self._read(1)
