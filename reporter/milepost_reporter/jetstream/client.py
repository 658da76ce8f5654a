"""nats-py's client, with the reading of messages replaced.

Whoever may publish chooses the bytes of a subject, a reply and a header, and nats-py 2.16 does not survive
all of them: a subject or reply that is not UTF-8, or a header block of eight bytes, ends its read loop while
it calls itself connected, and a vertical tab in a subject ends the connection. One tenant would silence all.
So messages are cut out of the stream here and handed over as the bytes they are; all else that the server
says stays nats-py's. It also spares each message a header dictionary, an object, a queue and a task.

Every turn of the loop costs, however little it brings. While whoever takes the messages would only let them wait, they
gather in asyncio's buffer, and are cut out in one go. (In the kernel they would gather more cheaply still, but a kernel
whose reader is away acknowledges late, and the sender holds back what came last: measured, it cost a whole pause.)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from nats.aio.client import DEFAULT_BUFFER_SIZE, DEFAULT_PENDING_SIZE
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from milepost_reporter.client import SecureClient

OnMessage = Callable[[bytes, bytes, bytes | None, bytes | None], None]
"""Subject, payload, header block and reply of one message; must not raise.

What a consumer delivers arrives under the subject it was stored with: only the reply tells whose it is.
"""

CaughtUp = Callable[[], float]
"""Told when all that was read is handed over; answers for how many seconds another message would only wait."""

_CRLF: Final = b"\r\n"
_H: Final = ord("H")

_WITH_REPLY: Final = 5
"""Words of a MSG line with a reply; HMSG has one more."""

_SPACE: Final = re.compile(r"\s")
_NO_NAME: Final = re.compile(r"[^!-9;-~]|^$")


class WireClient(SecureClient):
    """A client all of whose messages go to `on_message`, in the order in which they arrive.

    tls: whether to refuse a server that offers none.
    most_pending: bytes that may wait to be written before no more are taken.
    """

    def __init__(
        self,
        on_message: OnMessage,
        caught_up: CaughtUp = lambda: 0.0,
        *,
        tls: bool = False,
        most_pending: float = DEFAULT_PENDING_SIZE,
    ) -> None:
        super().__init__(tls=tls)
        self._most_pending = most_pending
        self._writing = False
        self._ps = _MessageParser(self, on_message, caught_up)

    def send(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> bool:
        """Queue a message to be written, without waiting as `publish` does.

        Returns:
            Whether it was taken: not while there is no connection, nor while too much waits to be written.

        Raises:
            ValueError: it cannot be written as a message, or the server takes none that large.
        """
        block = _block(headers)
        command = _command(subject, payload, reply, block)
        # The server counts the headers as well, and ends the connection of whoever exceeds it.
        size = len(block) + len(payload)
        if size > self.max_payload:
            raise ValueError(f"{size} bytes are more than the server's max_payload of {self.max_payload}")
        if not self.is_connected or self._pending_data_size > self._most_pending:
            return False
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write_pending)
        return True

    def _write_pending(self) -> None:
        """Write what this turn of the loop has queued in one go; nats-py's own flusher would do so some turns later."""
        self._writing = False
        if not self._pending or not self.is_connected or self._transport is None:
            return
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None and not writer.transport.is_closing() and not writer.transport.get_write_buffer_size():
            pending, self._pending = self._pending, []
            self._pending_data_size = 0
            writer.transport.writelines(pending)
        elif self._flush_queue is not None and self._flush_queue.empty():
            # the server is slow to read: the flusher waits for it
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def _process_op_err(self, e: Exception) -> None:
        # What is not written yet is lost with the connection. nats-py would still write it on closing, where uvloop
        # raises: its read loop would die of it, and nobody be told that the connection is closed.
        self._pending.clear()
        self._pending_data_size = 0
        await super()._process_op_err(e)


class _MessageParser(Parser):
    def __init__(self, client: WireClient, on_message: OnMessage, caught_up: CaughtUp) -> None:
        self._read = bytearray()
        self._on_message = on_message
        self._caught_up = caught_up
        super().__init__(client)

    def reset(self) -> None:
        super().reset()
        self._read.clear()

    async def parse(self, data: bytes = b"") -> None:
        """Take in what was read. ProtocolError when it is not NATS."""
        read = self._read
        read += data
        while (end := read.find(_CRLF)) >= 0:
            line = bytes(read[:end])
            if line.startswith((b"MSG ", b"HMSG ")):
                size = self._message(line, end + len(_CRLF))
                if size == 0:
                    break
                del read[:size]
            else:
                del read[: end + len(_CRLF)]
                await super().parse(line + _CRLF)
        # A full reading means that there is more already: who is behind neither flushes nor rests.
        if len(data) < DEFAULT_BUFFER_SIZE and (seconds := self._caught_up()) > 0:
            await asyncio.sleep(seconds)

    def _message(self, line: bytes, start: int) -> int:
        """Hand over the message announced by `line`; the bytes it took, 0 when it is not all there yet.

        `MSG <subject> <sid> [<reply>] <size>` and `HMSG <subject> <sid> [<reply>] <header size> <size>`: the
        server writes single spaces, and no name of anybody's holds one.
        """
        words = line.split(b" ")
        try:
            size = int(words[-1])
            header = int(words[-2]) if line[0] == _H else 0
            subject = words[1]
            reply = words[3] if len(words) == _WITH_REPLY + (line[0] == _H) else None
        except (ValueError, IndexError):
            raise ProtocolError from None
        if not 0 <= header <= size:
            raise ProtocolError
        end = start + size
        read = self._read
        if len(read) < end + len(_CRLF):
            return 0
        headers = bytes(read[start : start + header]) if header else None
        self._on_message(subject, bytes(read[start + header : end]), headers, reply)
        return end + len(_CRLF)


def _command(subject: str, payload: bytes, reply: str, block: bytes) -> bytes:
    if not subject or _SPACE.search(subject + reply):
        raise ValueError(f"not a subject and a reply: {subject!r:.100}, {reply!r:.100}")
    names = f"{subject} {reply}" if reply else subject
    if not block:
        return b"PUB %b %d\r\n%b\r\n" % (names.encode(), len(payload), payload)
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (names.encode(), len(block), len(block) + len(payload), block, payload)


def _block(headers: Mapping[str, str] | None) -> bytes:
    if not headers:
        return b""
    for name, value in headers.items():
        if not _is_name(name) or "\r" in value or "\n" in value:
            raise ValueError(f"not a header: {name!r:.100}: {value!r:.100}")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    """Whether it may name a header. There are few of them, and they come with every message."""
    return _NO_NAME.search(name) is None
