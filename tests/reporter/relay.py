"""A TCP relay in front of a nats-server, with a gate: it decides who may come back first after an outage.

It can also swallow what the server answers, so that a publisher does not hear what was stored.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Relay:
    """Passes bytes on to a port while its gate is open; without it, connections are closed at once."""

    def __init__(self, target: int, port: int = 0) -> None:
        self.port = port
        self.open = True
        # What clients have sent through it.
        self.sent = bytearray()
        # Which messages to clients are swallowed, by their subject.
        self.swallows: Callable[[str], bool] = lambda _: False
        self.swallowed = 0
        # Whether nothing that the server says comes through any more.
        self.mute = False
        self._target = target
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(_cancel_others())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other: asyncio.StreamWriter | None = None
        try:
            if self.open:
                from_server, other = await asyncio.open_connection("127.0.0.1", self._target)
                both = {
                    asyncio.ensure_future(_pass_on(reader, other, self.sent)),
                    asyncio.ensure_future(self._pass_back(from_server, writer)),
                }
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for task in both:
                    task.cancel()
        except (OSError, asyncio.CancelledError):
            # the relay's own end: a cancelled handler would make asyncio log an error
            return
        finally:
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                words = line.split()
                if words and words[0] in (b"MSG", b"HMSG"):
                    line += await reader.readexactly(int(words[-1]) + 2)
                    if self.swallows(words[1].decode()):
                        self.swallowed += 1
                        continue
                if not self.mute:
                    writer.write(line)
                    await writer.drain()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            seen += chunk
            writer.write(chunk)
            await writer.drain()
