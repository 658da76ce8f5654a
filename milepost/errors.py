"""What a command tells a person when it cannot go on: one line, and what to do.

* CommandError: the command failed; exit code 1
    * UsageError: it was asked for something that cannot be; exit code 2
"""

from __future__ import annotations

OK = 0
FAILED = 1
USAGE = 2
CANCELLED = 3
"""`milepost watch`: the job was cancelled."""
INTERRUPTED = 130
"""128 + SIGINT, as a shell has it."""


class CommandError(Exception):
    """The message is printed on stderr as it is, so it ends with what to do."""

    exit_code = FAILED


class UsageError(CommandError):
    """The command line, or the environment behind it, makes no sense."""

    exit_code = USAGE
