"""A job id: one token of a subject inside, a number or a string in JSON.

The rule is the wire's: a canonical decimal below 2^53 is a JSON number, everything else a string; clients may send
either.
"""

from __future__ import annotations

import re

_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_CANONICAL = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_FIRST_UNSAFE = 2**53


def read_job_id(value: object) -> str:
    """Return the job's one name for a client's `123` or `"123"`.

    Raises:
        ValueError: when it is no job id, with a sentence for the client.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _FIRST_UNSAFE:
        return str(value)
    if isinstance(value, str) and _PATTERN.fullmatch(value):
        return value
    raise ValueError("jobId must be a whole number below 2^53 or 1 to 64 of the characters A-Z a-z 0-9 _ -")


def write_job_id(job: str) -> bytes:
    """Return the id as JSON."""
    if _CANONICAL.fullmatch(job) and int(job) < _FIRST_UNSAFE:
        return job.encode()
    return f'"{job}"'.encode()
