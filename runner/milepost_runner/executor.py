"""What runs handlers: the protocols of executors and of one handler's execution, and how it can come out."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

from milepost_reporter.cancel import CancelToken

from milepost_runner.handler import Handler
from milepost_runner.progress import Progress

COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"


class Outcome(NamedTuple):
    """How one run of a handler came out.

    `status`: completed, failed or cancelled. `result`: JSON, when completed. `error`: `{message, details}` when failed.
    `final`: a failure that another run would only repeat.
    """

    status: str
    result: bytes = b"null"
    error: dict[str, str] | None = None
    final: bool = False


class Execution(Protocol):
    """One handler that runs. Belongs to the event loop that started it."""

    async def outcome(self) -> Outcome:
        """Wait for it. Never raises for what the handler did; may be asked more than once, and be cancelled."""
        ...

    async def kill(self) -> bool:
        """End it although it does not listen, in a bounded time.

        Returns:
            True when nothing of it is left, no process and no child of one; False when it was written off: it may go
            on, but whatever it still reports or returns counts for nothing.
        """
        ...


class Executor(Protocol):
    """Where handlers run."""

    def open(self) -> None:
        """Begin what takes time to be there, before the first handler is to run."""
        ...

    async def ready(self) -> None:
        """Return when a handler that is started begins at once: no time of its own is to pass before."""
        ...

    def check(self, handler: Handler) -> None:
        """ValueError, which says why, for a handler that cannot run here."""
        ...

    async def start(self, handler: Handler, payload: Any, progress: Progress, cancel: CancelToken) -> Execution:  # noqa: ANN401 - JSON
        """Begin to run a handler with a payload, which is JSON as it was submitted."""
        ...

    async def close(self) -> None:
        """End everything that still runs, killing what does not listen."""
        ...
