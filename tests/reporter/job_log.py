"""The job log's streams: made and read by raw requests over a bare socket."""

import base64
import contextlib
import json
import socket
import time
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from tests.reporter.subscriber import Received

LOG = "MILEPOST_LOG"
STATE = "MILEPOST_STATE"

_COMMON: dict[str, Any] = {"storage": "file", "discard": "old", "allow_direct": True}
_CONFIGS: list[dict[str, Any]] = [
    {
        **_COMMON,
        "name": LOG,
        "subjects": ["tenant.*.job.*.progress", "tenant.*.job.*.end.*"],
        "max_msgs_per_subject": 1_000_000,
        "max_msg_size": 65_536,
        "duplicate_window": 120_000_000_000,
        "deny_delete": True,
        "deny_purge": True,
        "republish": {"src": ">", "dest": "live.>"},
    },
    {**_COMMON, "name": STATE, "subjects": ["tenant.*.job.*.state.*"], "max_msgs_per_subject": 1},
]


class Requests:
    """One connection for requests, one at a time."""

    def __init__(self, url: str, timeout: float = 20.0) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port), timeout=timeout)
        self._stream: BinaryIO = self._socket.makefile("rb")
        self._stream.readline()
        options: dict[str, Any] = {"verbose": False, "headers": True, "no_responders": True}
        if address.username:
            options |= {"user": address.username, "pass": address.password}
        self._socket.sendall(f"CONNECT {json.dumps(options)}\r\nSUB _INBOX.test 1\r\n".encode())

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def ask(self, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer as JSON; {} when nobody is there to give one."""
        return self.ask_raw(subject, json.dumps(body).encode() if body is not None else b"")

    def ask_raw(self, subject: str, payload: bytes) -> dict[str, Any]:
        """The same with any bytes."""
        self._socket.sendall(f"PUB {subject} _INBOX.test {len(payload)}\r\n".encode() + payload + b"\r\n")
        while line := self._stream.readline():
            words = line.split()
            if words[0] == b"PING":
                self._socket.sendall(b"PONG\r\n")
            elif words[0] in (b"MSG", b"HMSG"):
                answer = self._stream.read(int(words[-1]) + 2)
                head = int(words[-2]) if words[0] == b"HMSG" else 0
                parsed: dict[str, Any] = json.loads(answer[head:-2] or b"{}")
                return parsed
        raise ConnectionError("the server has ended")


def ask(url: str, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request over a connection of its own, again when a cluster without a leader does not answer."""
    for timeout in (2.0, 2.0, 2.0, 2.0, 20.0):
        with contextlib.suppress(TimeoutError):
            return _ask(url, subject, body, timeout)
    raise TimeoutError(subject)


def _ask(url: str, subject: str, body: dict[str, Any] | None, timeout: float) -> dict[str, Any]:
    requests = Requests(url, timeout)
    try:
        return requests.ask(subject, body)
    finally:
        requests.close()


def make_streams(url: str, *, copies: int = 1, **log: Any) -> None:  # noqa: ANN401 - more of the log's configuration
    """Make both streams, as soon as JetStream answers."""
    for config in _CONFIGS:
        wanted = {**config, "num_replicas": copies, **(log if config["name"] == LOG else {})}
        deadline = time.monotonic() + 20
        while "config" not in (answer := ask(url, f"$JS.API.STREAM.CREATE.{config['name']}", wanted)):
            if time.monotonic() > deadline:
                raise TimeoutError(str(answer))
            time.sleep(0.01)


def last_seq(url: str, stream: str = LOG) -> int:
    """How many messages the stream has taken."""
    return int(ask(url, f"$JS.API.STREAM.INFO.{stream}").get("state", {}).get("last_seq", 0))


def stored(url: str, stream: str = LOG) -> list[Received]:
    """Every message of a stream, in order. Raw: nothing is left out."""
    requests = Requests(url)
    try:
        state = requests.ask(f"$JS.API.STREAM.INFO.{stream}")["state"]
        answers = (
            requests.ask(f"$JS.API.STREAM.MSG.GET.{stream}", {"seq": seq})
            for seq in range(state["first_seq"], state["last_seq"] + 1)
        )
        return [_received(answer["message"]) for answer in answers if "message" in answer]
    finally:
        requests.close()


def stored_of(url: str, subject: str) -> list[Received]:
    """The log's messages on a subject, which may have wildcards, in order: a request each, however long the log is."""
    requests, found, seq = Requests(url), [], 1
    try:
        ask = partial(requests.ask, f"$JS.API.STREAM.MSG.GET.{LOG}")
        while "message" in (answer := ask({"seq": seq, "next_by_subj": subject})):
            found.append(_received(answer["message"]))
            seq = answer["message"]["seq"] + 1
        return found
    finally:
        requests.close()


def _received(message: dict[str, Any]) -> Received:
    head = base64.b64decode(message.get("hdrs", "")).decode()
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
    payload = base64.b64decode(message.get("data", ""))
    number = int(headers.get("Milepost-Count", 0))
    return Received(message["subject"], headers.get("Milepost-Reporter", ""), number, headers, payload)
