"""How often the log is asked for something, by the word of nats-server and not by that of who asks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from nats.aio.msg import Msg

from chaos.observer import connected

_DIRECT_GET: Final = "$JS.API.DIRECT.GET.>"


class Requests:
    """Requests for stored messages so far, one batch each."""

    def __init__(self) -> None:
        self.count = 0

    async def take(self, _: Msg) -> None:
        """One more."""
        self.count += 1


@contextlib.asynccontextmanager
async def requests(url: str) -> AsyncIterator[Requests]:
    """Count them from now on, whoever asks."""
    async with connected(url) as client:
        counted = Requests()
        await client.subscribe(_DIRECT_GET, cb=counted.take)
        await client.flush()
        yield counted
