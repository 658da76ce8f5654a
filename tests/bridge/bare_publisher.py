"""A publisher that knows NATS' text protocol and nothing else, over a bare socket."""

from __future__ import annotations

import socket
from types import TracebackType

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'


class BarePublisher:
    """Writes what it is told to, byte for byte. Reconnects when the server closes on it for that."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connect()

    def __enter__(self) -> BarePublisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def publish(self, subject: bytes, payload: bytes, headers: bytes | None = None, reply: bytes = b"") -> bool:
        """Publish and wait until the server has taken it in; False when it refused."""
        names = b" ".join(filter(None, (subject, reply)))
        if headers is None:
            command = b"PUB %b %d\r\n%b\r\n" % (names, len(payload), payload)
        else:
            sizes = len(headers), len(headers) + len(payload)
            command = b"HPUB %b %d %d\r\n%b%b\r\n" % (names, *sizes, headers, payload)
        try:
            self._socket.sendall(command + b"PING\r\n")
            taken = self._answered()
        except OSError:
            taken = False
        if not taken:
            self._socket.close()
            self._socket = self._connect()
        return taken

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        connection.sendall(CONNECT + b"PING\r\n")
        self._socket = connection
        assert self._answered()
        return connection

    def _answered(self) -> bool:
        read = b""
        while b"PONG\r\n" not in read and b"-ERR" not in read:
            more = self._socket.recv(65_536)
            if not more:
                return False
            read += more
        return b"-ERR" not in read
