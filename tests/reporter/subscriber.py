"""A reader of what jobs publish: a nats-py client in a thread of its own."""

import asyncio
import json
import threading
from types import TracebackType
from typing import Any, NamedTuple, Self

import nats
from nats.aio.msg import Msg

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
    """Receives `tenant.<tenant>.>` from when `with` is entered, into `messages`."""

    def __init__(self, url: str, tenant: str, messages: list[Received] | None = None) -> None:
        self.messages: list[Received] = [] if messages is None else messages
        self._url = url
        self._subject = f"tenant.{tenant}.>"
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

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

    def _run(self) -> None:
        self._loop.run_until_complete(self._receive())

    async def _receive(self) -> None:
        async def quiet(_: Exception) -> None:
            return

        client = await nats.connect(self._url, allow_reconnect=False, error_cb=quiet)
        await client.subscribe(self._subject, cb=self._take, pending_msgs_limit=0, pending_bytes_limit=0)
        await client.flush()
        self._ready.set()
        await self._stop.wait()
        if client.is_connected:
            await client.drain()

    async def _take(self, message: Msg) -> None:
        headers = message.headers or {}
        reporter, number = headers.get("Milepost-Reporter", ""), int(headers.get("Milepost-Count", 0))
        self.messages.append(Received(message.subject, reporter, number, headers, message.data))


def once(messages: list[Received]) -> list[Received]:
    """Without what was sent again."""
    last: dict[str, int] = {}
    kept = []
    for message in list(messages):
        if message.number > last.get(message.reporter, 0):
            last[message.reporter] = message.number
            kept.append(message)
    return kept
