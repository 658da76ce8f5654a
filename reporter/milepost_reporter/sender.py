"""What empties the outbox: the link to NATS, or the list of a recording reporter."""

from collections.abc import Callable
from typing import Protocol


class Sender(Protocol):
    """Takes events from an outbox; every method may be called by any thread."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        ...

    @property
    def connections(self) -> int:
        """How often there was a connection."""
        ...

    @property
    def refused(self) -> int:
        """Events the other side would not take."""
        ...

    @property
    def trouble(self) -> str:
        """Why what is left could not be sent."""
        ...

    @property
    def sent(self) -> int:
        """How many events have been sent, each counted once."""
        ...

    @property
    def confirmed(self) -> int:
        """How many of those have arrived."""
        ...

    @property
    def idle(self) -> bool:
        """Whether everything has been sent and has arrived."""
        ...

    def wake(self) -> None:
        """There is something to take."""
        ...

    def listen(self, answer: Callable[[bytes], bytes]) -> None:
        """Give requests to the job to `answer` from now on, where there is anybody to make them. Does not wait."""
        ...

    def close(self, timeout: float | None = None) -> None:
        """Send what is left, within `timeout` seconds, and end. Does not wait."""
        ...

    def join(self) -> None:
        """Wait for the end after `close()`."""
        ...
