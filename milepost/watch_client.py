"""One job's messages from the hub's WebSocket, across its reconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Final

from milepost.backoff import Backoff
from milepost.errors import CommandError
from milepost.watched_job import Link, plain

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import ConnectionClosed, InvalidStatus

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 15.0
_OPEN_SECONDS: Final = 10
_MAX_MESSAGE: Final = 4 * 1024 * 1024
_SUBSCRIBE: Final = "watch"
"""The subscription's own id, which the hub puts on its answer."""
_STAY_AWAY: Final = range(4500, 5000)
"""Close codes that say coming back will not help."""


class WatchClient:
    """Connects, subscribes, and connects again when the hub or the network goes away.

    `on_link` hears of every change of the connection, `on_raw` gets each message's text as it came.
    """

    def __init__(
        self,
        url: str,
        token: str,
        job: int | str,
        *,
        on_link: Callable[[Link], None],
        on_raw: Callable[[str], None] | None = None,
    ) -> None:
        self._url = url
        self._token = token
        self._job = job
        self._on_link = on_link
        self._on_raw = on_raw
        self._backoff = Backoff(first=FIRST_WAIT, most=LONGEST_WAIT)
        self._was_connected = False
        # Where to go on after a reconnect: nothing that happened meanwhile is missed.
        self._cursor: str | None = None

    async def messages(self) -> AsyncGenerator[dict[str, Any], None]:
        """Every message, until the caller has enough. CommandError when coming back will not help."""
        while True:
            connection = await self._connect()
            if connection is not None:
                async for message in self._listen(connection):
                    yield message
            self._on_link(Link.RECONNECTING)
            await asyncio.sleep(self._backoff.next())

    async def _connect(self) -> ClientConnection | None:
        """A connection; None when another try may succeed."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidStatus

        try:
            return await connect(
                self._url,
                # in a header and not in the URL, which proxies like to log
                additional_headers={"Authorization": f"Bearer {self._token}"},
                compression=None,
                open_timeout=_OPEN_SECONDS,
                max_size=_MAX_MESSAGE,
            )
        except InvalidStatus as error:
            self._refused(error)
        except (OSError, TimeoutError, InvalidHandshake) as error:
            if not self._was_connected:
                why = f"the hub at {self._url} cannot be reached ({str(error) or 'it does not answer'})"
                raise CommandError(f"{why}: is it running, and is MILEPOST_URL (--url) right?") from error
        return None

    def _refused(self, error: InvalidStatus) -> None:
        status = error.response.status_code
        if 400 <= status < 500:  # noqa: PLR2004 - the range is HTTP's own
            raise CommandError(
                f"{self._url} answered HTTP {status}: is MILEPOST_URL (--url) the address of a hub?"
            ) from error

    async def _listen(self, connection: ClientConnection) -> AsyncGenerator[dict[str, Any], None]:
        from websockets.exceptions import ConnectionClosed

        try:
            await connection.send(json.dumps(self._subscription()))
            async for text in connection:
                message = self._read(text)
                if message is None:
                    continue
                if message.get("type") == "error" and message.get("id") == _SUBSCRIBE:
                    raise CommandError(f"the hub says: {plain(str(message.get('message')))}")
                if message.get("type") == "subscribed":
                    # only now: a hub that accepts and closes at once must not be hammered
                    self._was_connected = True
                    self._backoff.reset()
                    self._on_link(Link.CONNECTED)
                self._cursor = message.get("cursor") or self._cursor
                yield message
        except ConnectionClosed as error:
            self._closed(error)
        else:
            self._check_code(connection.close_code, connection.close_reason)
        finally:
            await connection.close()

    def _subscription(self) -> dict[str, Any]:
        after = {} if self._cursor is None else {"after": self._cursor}
        return {"action": "subscribe", "jobId": self._job, "id": _SUBSCRIBE, **after}

    def _closed(self, error: ConnectionClosed) -> None:
        if error.rcvd is not None:
            self._check_code(error.rcvd.code, error.rcvd.reason)

    def _check_code(self, code: int | None, reason: str | None) -> None:
        if code in _STAY_AWAY:
            raise CommandError(f"the hub has closed the connection ({code}): {plain(reason or 'it gave no reason')}")

    def _read(self, text: str | bytes) -> dict[str, Any] | None:
        if not isinstance(text, str):
            return None
        if self._on_raw is not None:
            self._on_raw(text)
        try:
            message = json.loads(text)
        except ValueError:
            return None
        return message if isinstance(message, dict) else None
