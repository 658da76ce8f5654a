"""An event loop for a daemon thread of somebody else's program."""

import asyncio
import contextlib
import logging
import socket
import threading
from typing import Any, Final

_logger: Final = logging.getLogger(__name__)

Addresses = list[tuple[Any, ...]]


class DaemonLoop(asyncio.SelectorEventLoop):
    """An event loop that is quiet and never holds up the program's exit.

    asyncio looks names up in a pool of threads that the interpreter waits for when it exits, and that refuses
    work from then on, while `close()` may still have to connect. So every look-up here is a daemon thread's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(_note)

    async def getaddrinfo(  # type: ignore[override] # the look-up's own signature, without asyncio's overloads
        self, host: str | None, port: str | int | None, **hints: int
    ) -> Addresses:
        """As `socket.getaddrinfo`."""
        answer: asyncio.Future[Addresses] = self.create_future()

        def look_up() -> None:
            try:
                found: Addresses | OSError = list(socket.getaddrinfo(host, port, **hints))
            except (OSError, UnicodeError) as error:
                found = error if isinstance(error, OSError) else OSError(str(error))
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                self.call_soon_threadsafe(_settle, answer, found)

        threading.Thread(target=look_up, name="milepost-look-up", daemon=True).start()
        return await answer


def _settle(answer: asyncio.Future[Addresses], found: Addresses | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _logger.debug("%s", context.get("message"), exc_info=context.get("exception"))
