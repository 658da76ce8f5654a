"""One connection to NATS that never gives up, and says when it is up.

Every life of the connection is a new nats-py client: one that reconnects by itself may hang for good, or
believe itself connected when nothing reads any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from milepost_reporter.jetstream.access import Access
from milepost_reporter.jetstream.client import CaughtUp, OnMessage, WireClient
from milepost_reporter.jetstream.complaints import Complaints

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

_LOOK: Final = 1.0
"""Seconds until a quiet connection is looked at, should nats-py have forgotten to tell of its end."""

_UNWRITTEN_LOOK: Final = 0.001
"""Seconds between looks at what nats-py has not yet written."""

_CANCEL_AGAIN: Final = 0.1
"""Seconds until an end that is not heard is asked for again."""

_GRACE: Final = 1.0
"""Seconds for a connection to close in good order."""


class Connection:
    """Holds subscriptions over whatever happens to NATS. Belongs to one event loop.

    Args:
        servers: URLs of the servers, any of which will do.
        settings: credentials and patience.
        on_message: given every message, in order; must not raise.
        on_change: called when `up` has changed; must not raise.
        complaints: where it is told what goes wrong.
        purpose: what for, in words for people who read logs.
        caught_up: told when all that was read is handed over; for how many seconds another message would only wait.
    """

    def __init__(
        self,
        servers: list[str],
        settings: Access,
        on_message: OnMessage,
        on_change: Callable[[], None],
        complaints: Complaints,
        *,
        purpose: str = "live events",
        caught_up: CaughtUp = lambda: 0.0,
    ) -> None:
        self._purpose = purpose
        self._servers = servers
        self._settings = settings
        self._tls = settings.tls_context() is not None or any(url.startswith("tls:") for url in servers)
        self._on_message = on_message
        self._on_change = on_change
        self._complaints = complaints
        self._caught_up = caught_up
        self.up = False
        self.connections = 0
        """How many there have been."""
        self._client: WireClient | None = None
        self._wanted: set[str] = set()
        # what the server is known to have subscribed us to, over the present client
        self._confirmed: dict[str, Subscription] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="milepost-connection")

    async def close(self) -> None:
        """End the connection for good."""
        self._wanted.clear()
        self._closing = True
        self._news.set()
        # First in good order: nats-py logs an error for a PONG that nobody waits for any more. Then by force, again and
        # again: a cancellation that comes while nats-py connects or flushes can get lost in there.
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=_CANCEL_AGAIN)
            self._task.cancel()

    def want(self, subject: str) -> asyncio.Future[None] | None:
        """Subscribe to `subject`, now and after every reconnect.

        Returns:
            None when messages arrive already, else a future that is done once they do; at once while not up.
        """
        self._wanted.add(subject)
        if subject in self._confirmed:
            return None
        waiting = self._waiting.get(subject)
        if waiting is None or waiting.done():
            waiting = asyncio.get_running_loop().create_future()
            if not self.up:
                waiting.set_result(None)
                return waiting
            self._waiting[subject] = waiting
            self._news.set()
        return waiting

    def unwant(self, subject: str) -> None:
        """Undo `want`."""
        self._wanted.discard(subject)
        self._settle(subject)
        self._news.set()

    def publish(self, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> bool:
        """Hand a message to the present connection.

        Returns:
            False when it was not taken: there is no connection, or it is stuck. True says no more than that it
            will be written, if the connection lives.

        Raises:
            ValueError: it cannot be written as a message, or the server takes none that large.
        """
        return self._client is not None and self._client.send(subject, payload, reply, headers)

    @property
    def server_info(self) -> dict[str, Any]:
        """The connected server's INFO: `version`, `jetstream`, …; {} while there is none."""
        return {} if self._client is None else self._client._server_info

    async def _run(self) -> None:
        failures = 0
        while not self._closing:
            client = WireClient(self._on_message, self._caught_up, tls=self._tls)
            try:
                await self._connect(client)
                failures = 0
                await self._live(client)
            except Exception as error:  # whatever it is, the next client is a new one
                self._complaints.tell("no connection to NATS", _reason(error))
            finally:
                self._down()
                await _leave(client)
            if self._closing:
                return
            await asyncio.sleep(backoff(failures, self._settings, random.random()))  # noqa: S311 - no secret
            failures += 1

    async def _connect(self, client: WireClient) -> None:
        await client.connect(
            self._servers,
            error_cb=self._on_error,
            disconnected_cb=self._on_end,
            closed_cb=self._on_end,
            **self._settings.connect_options(),
        )

    async def _live(self, client: WireClient) -> None:
        """Keep the subscriptions as they are wanted until the connection is lost."""
        self.connections += 1
        self._client = client
        while client.is_connected and not self._closing:
            self._news.clear()
            await self._subscribe(client)
            # What was wanted meanwhile was told that it need not wait, so `up` has to wait for it.
            while not self.up and self._wanted - self._confirmed.keys():
                await self._subscribe(client)
            if not self.up:
                self._change(up=True)
                self._complaints.logger.info("connected to NATS for %s", self._purpose)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._news.wait()
        if not self._closing:
            raise ConnectionError(f"connection lost: {client.last_error or 'closed by the server'}")

    async def _subscribe(self, client: WireClient) -> None:
        for subject in self._confirmed.keys() - self._wanted:
            await self._confirmed.pop(subject).unsubscribe()
        fresh: dict[str, Subscription] = {}
        for subject in self._wanted - self._confirmed.keys():
            # without a callback: WireClient hands over every message itself
            fresh[subject] = await client.subscribe(subject)
        if not fresh:
            return
        await self._confirm(client)
        self._confirmed.update(fresh)
        for subject in fresh:
            self._settle(subject)

    async def _confirm(self, client: WireClient) -> None:
        """Return when the server has taken in what was sent to it."""
        # as patient as the pings: the answer comes behind all the messages that are on their way
        patience = 3 * self._settings.ping_interval
        async with asyncio.timeout(patience):
            # nats-py writes its ping past what it still has queued
            while client.pending_data_size:  # noqa: ASYNC110 - it tells nobody when it is done
                await asyncio.sleep(_UNWRITTEN_LOOK)
            await client.flush(timeout=patience)  # type: ignore[arg-type] # seconds, fractions too

    def _down(self) -> None:
        self._client = None
        self._confirmed.clear()
        if self.up:
            self._change(up=False)
        for subject in list(self._waiting):
            self._settle(subject)

    def _change(self, *, up: bool) -> None:
        self.up = up
        self._on_change()

    def _settle(self, subject: str) -> None:
        waiting = self._waiting.pop(subject, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _on_error(self, error: Exception) -> None:
        self._complaints.tell("NATS", _reason(error))

    async def _on_end(self) -> None:
        self._news.set()


def backoff(failures: int, settings: Access, chance: float) -> float:
    """Seconds to wait after so many failures in a row; `chance`, from 0 to 1, spreads many bridges apart."""
    longest = min(settings.reconnect_wait * 2.0 ** min(failures, 30), settings.reconnect_wait_max)
    return longest * (0.5 + chance / 2)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


async def _leave(client: WireClient) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_GRACE):
            await client.close()
