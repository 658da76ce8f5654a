"""What can go wrong with submitted jobs.

RunnerError
├── Refused          what was submitted cannot be taken, whatever happens later: `reasons`
│   ├── UnknownHandler   no worker has told of a job of this name
│   ├── BadPayload       it does not fit what the handler takes
│   ├── TooLarge         more bytes than the queue takes
│   └── KeyTaken         the idempotency key was used with another name or payload
├── NoSuchJob        nothing is known of this job
├── HasEnded         it cannot be stopped any more
└── QueueUnavailable NATS or its streams cannot take it just now: try again
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class RunnerError(Exception):
    """Anything of the below."""


class Refused(RunnerError):  # noqa: N818 - an answer
    """It cannot be taken as it is.

    Attributes:
        reasons: what is wrong where, as `{"loc": ["rows", 0], "msg": "…"}`; empty when the message says all.
    """

    def __init__(self, message: str, reasons: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(message)
        self.reasons = list(reasons)


class UnknownHandler(Refused):
    """No worker has told of a job of this name."""


class BadPayload(Refused):
    """The payload does not fit what the handler takes; `reasons` has at least one."""


class TooLarge(Refused):
    """The payload has more bytes than the queue takes."""


class KeyTaken(Refused):
    """The idempotency key was used before, with another name or payload."""


class NoSuchJob(RunnerError):  # noqa: N818 - as asked
    """Nothing is known of this job: never submitted, or forgotten since."""


class HasEnded(RunnerError):  # noqa: N818 - as asked
    """The job has ended: it cannot be stopped any more."""


class QueueUnavailable(RunnerError):  # noqa: N818 - a state that passes
    """It could not be asked of NATS; it may have been done or not. With an idempotency key it is safe to try again."""
