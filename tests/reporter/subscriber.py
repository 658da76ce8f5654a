"""A reader of what jobs publish: a bare socket in a thread of its own, so that nothing read is ever lost."""

import json
import socket
import threading
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self
from urllib.parse import urlsplit

from tests.waiting import eventually


class Received(NamedTuple):
    """One message as it came."""

    subject: str
    reporter: str
    number: int
    headers: dict[str, str]
    payload: bytes

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.payload)
        return parsed


class Subscriber:
    """Receives what jobs of `tenant` publish, from when `with` is entered: events into `messages`.

    Requests to jobs it leaves alone: whoever asks is told that nobody listens, when nobody else does.
    """

    def __init__(self, url: str, tenant: str, messages: list[Received] | None = None) -> None:
        self.messages: list[Received] = [] if messages is None else messages
        # Beats and state records, which are no events.
        self.beats: list[Received] = []
        self.records: list[Received] = []
        self._pongs = 0
        self._url = urlsplit(url)
        self._subjects = [f"tenant.{tenant}.job.*.{leaf}" for leaf in ("progress", "end.*", "state.*", "alive")]
        self._socket: socket.socket
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._socket = socket.create_connection((self._url.hostname, self._url.port), timeout=10)
        self._stream: BinaryIO = self._socket.makefile("rb")
        self._stream.readline()
        options: dict[str, object] = {"verbose": False, "headers": True}
        if self._url.username:
            options |= {"user": self._url.username, "pass": self._url.password}
        wanted = "".join(f"SUB {subject} {number}\r\n" for number, subject in enumerate(self._subjects, 1))
        self._socket.sendall(f"CONNECT {json.dumps(options)}\r\n{wanted}PING\r\n".encode())
        assert self._stream.readline() == b"PONG\r\n"
        self._socket.settimeout(None)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ends the reading where it is; after the server's own end, it has read to that.
        if self._thread.is_alive() and not self.ended(0.0):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._stream.close()
        self._socket.close()

    def ended(self, timeout: float = 20) -> bool:
        """Whether everything up to the server's end has been read, within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def caught_up(self) -> None:
        """Return when all is read that the server had for it by now."""
        pongs = self._pongs
        self._socket.sendall(b"PING\r\n")
        eventually(lambda: self._pongs > pongs)

    @property
    def once(self) -> list[Received]:
        """What a reader keeps: of each reporter, only what has a higher number than the one before."""
        return once(self.messages)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of `once`."""
        return [message.event for message in self.once]

    def of(self, **fields: object) -> list[dict[str, Any]]:
        """The events with these fields."""
        return [event for event in self.events if all(event.get(name) == fields[name] for name in fields)]

    def until(self, timeout: float = 20, **fields: object) -> dict[str, Any]:
        """The first event with these fields, when it has come."""
        return eventually(lambda: self.of(**fields), timeout)[0]

    def _read(self) -> None:
        try:
            while line := self._stream.readline():
                self._take(line)
        except OSError:
            return

    def _take(self, line: bytes) -> None:
        words = line.split()
        if words[0] == b"PING":
            self._socket.sendall(b"PONG\r\n")
        elif words[0] == b"PONG":
            self._pongs += 1
        elif words[0] in (b"MSG", b"HMSG"):
            body = self._stream.read(int(words[-1]) + 2)
            size = int(words[-2]) if words[0] == b"HMSG" else 0
            if len(body) == int(words[-1]) + 2:
                self._keep(_received(words[1].decode(), body[:size].decode(), body[size:-2]))

    def _keep(self, message: Received) -> None:
        if message.subject.endswith(".alive"):
            self.beats.append(message)
        elif ".state." in message.subject:
            self.records.append(message)
        else:
            self.messages.append(message)


def _received(subject: str, head: str, payload: bytes) -> Received:
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
    number = int(headers.get("Milepost-Count", 0))
    return Received(subject, headers.get("Milepost-Reporter", ""), number, headers, payload)


def once(messages: list[Received]) -> list[Received]:
    """Without what was sent again."""
    last: dict[str, int] = {}
    kept = []
    for message in list(messages):
        if message.number > last.get(message.reporter, 0):
            last[message.reporter] = message.number
            kept.append(message)
    return kept
