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
from collections.abc import Callable
from typing import Final

from milepost_reporter.client import SecureClient
from nats.aio.client import DEFAULT_BUFFER_SIZE
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

OnMessage = Callable[[bytes, bytes, bytes | None], None]
"""Subject, payload and header block of one message; must not raise."""

CaughtUp = Callable[[], float]
"""Told when all that was read is handed over; answers for how many seconds another message would only wait."""

_CRLF: Final = b"\r\n"


class WireClient(SecureClient):
    """A client all of whose messages go to `on_message`, in the order in which they arrive.

    tls: whether to refuse a server that offers none.
    """

    def __init__(self, on_message: OnMessage, caught_up: CaughtUp = lambda: 0.0, *, tls: bool = False) -> None:
        super().__init__(tls=tls)
        self._ps = _MessageParser(self, on_message, caught_up)


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
            header = int(words[-2]) if line[0] == b"H"[0] else 0
            subject = words[1]
        except (ValueError, IndexError):
            raise ProtocolError from None
        if not 0 <= header <= size:
            raise ProtocolError
        end = start + size
        read = self._read
        if len(read) < end + len(_CRLF):
            return 0
        headers = bytes(read[start : start + header]) if header else None
        self._on_message(subject, bytes(read[start + header : end]), headers)
        return end + len(_CRLF)
