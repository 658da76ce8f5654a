"""What can go wrong with what NATS stores.

JetStreamError
├── Unavailable     no connection, no answer in time, or nobody there to answer (503): ask again
├── Refused         JetStream answered no, for a reason of its own: `code`, `err_code`
├── NoJetStream     the server, or the account on it, keeps no streams
├── ServerTooOld    the server cannot do what the log needs
└── StreamUnfit     a stream of ours exists and cannot serve, or cannot be made
"""

from __future__ import annotations


class JetStreamError(Exception):
    """Anything of the below."""


class Unavailable(JetStreamError):  # noqa: N818 - a state that passes
    """Nobody answered; nothing is known, not even whether what was asked for was done.

    Attributes:
        nobody: the server says that nobody is there to be asked.
        err_code: JetStream's number for the reason, where it gave one.
    """

    def __init__(self, message: str, *, nobody: bool = False, err_code: int = 0) -> None:
        super().__init__(message)
        self.nobody = nobody
        self.err_code = err_code


class Refused(JetStreamError):  # noqa: N818 - an answer, and often an expected one
    """JetStream's own refusal.

    Attributes:
        code: as in HTTP: 400, 404, 413, …
        err_code: JetStream's number for the reason, such as 10071; 0 when it gave none.
    """

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} ({err_code or code})")
        self.code = code
        self.err_code = err_code
        self.description = description


class NoJetStream(JetStreamError):  # noqa: N818 - a way to run NATS, not a fault
    """There is nothing that keeps events: they can be shown live only."""


class ServerTooOld(JetStreamError):  # noqa: N818 - what it is, in the words of the documentation
    """The message says what the server is and what is needed."""


class StreamUnfit(JetStreamError):  # noqa: N818 - what it is, in the words of the documentation
    """The message says what differs, or why it cannot be made, and what to do about it."""
