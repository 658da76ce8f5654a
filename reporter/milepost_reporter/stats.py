"""What a reporter has done so far."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Counts of events since the reporter was made, at one moment."""

    waiting: int
    """Not yet sent."""

    sent: int
    """Sent, each counted once."""

    confirmed: int
    """Of those, known to have reached the server."""

    conflated: int
    """Progress that a newer value of the same node replaced before it was sent."""

    dropped: Mapping[str, int]
    """For which there was no room, by kind."""

    refused: int
    """Calls with values that cannot be sent, and requests to the job that ask for nothing it does."""

    late: int
    """Calls after the job's end or after `close()`."""

    connected: bool
    connections: int
    """How often NATS was reached: 1, and one more for every time it came back."""
