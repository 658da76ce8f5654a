"""Fields of NATS' raw header block, and the time stamps in it.

A block is `NATS/1.0[ <status>[ <description>]]`, then a line for each field, each ended by CR LF, then an empty line.
Whoever publishes may write any bytes in its place, and repeat any field; the server's own fields come last.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_VERSION: Final = b"NATS/1.0 "
_STATUS_DIGITS: Final = 3

_SECONDS: Final = len("2026-01-02T03:04:05")
_DATE_AND_TIME: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_NANOSECOND_DIGITS: Final = 9
_NANOSECONDS: Final = 10**_NANOSECOND_DIGITS
_MILLION: Final = 10**6
_POINT: Final = ord(".")
_ZULU: Final = ord("Z")
_FRACTION: Final = re.compile(rb"(?:\.([0-9]{1,9}))?Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def field(block: bytes | None, name: bytes) -> bytes | None:
    """The last value of a field, without white space around it; None when there is none.

    The last, because the server's own fields stand behind whatever the publisher wrote under the same name.
    """
    if block is None:
        return None
    at = block.rfind(b"\r\n" + name + b":")
    if at < 0:
        return None
    start = at + len(name) + 3
    end = block.find(b"\r\n", start)
    return block[start : end if end >= 0 else None].strip()


def number(block: bytes | None, name: bytes) -> int | None:
    """The last value of a field that is a number of at most 19 digits, as sequences are; None for any other."""
    value = field(block, name)
    return int(value) if value is not None and _is_number(value) else None


def status(block: bytes | None) -> int | None:
    """The status in the block's first line, as 204 or 503; None when it has none."""
    if block is None or not block.startswith(_VERSION):
        return None
    digits = block[len(_VERSION) : len(_VERSION) + _STATUS_DIGITS]
    return int(digits) if len(digits) == _STATUS_DIGITS and digits.isdigit() else None


def description(block: bytes) -> str:
    """The words behind the status, for people to read."""
    line = block.partition(b"\r\n")[0]
    return line[len(_VERSION) + _STATUS_DIGITS :].strip().decode("utf-8", "replace")


def to_nanoseconds(text: bytes) -> int:
    """Unix nanoseconds of an RFC 3339 time in UTC, as the server writes them. ValueError for anything else."""
    digits = text[_SECONDS + 1 : -1]
    if len(digits) == _NANOSECOND_DIGITS and digits.isdigit() and text[_SECONDS] == _POINT and text[-1] == _ZULU:
        return _to_seconds(text[:_SECONDS]) * _NANOSECONDS + int(digits)
    fraction = _FRACTION.fullmatch(text, _SECONDS)
    if fraction is None:
        raise ValueError(f"not a time: {text!r:.60}")
    digits = fraction[1] or b""
    return _to_seconds(text[:_SECONDS]) * _NANOSECONDS + int(digits.ljust(_NANOSECOND_DIGITS, b"0"))


def to_rfc3339(nanoseconds: int) -> str:
    """Unix nanoseconds as RFC 3339 in UTC, with all nine digits. ValueError for a time outside the years 1 to 9999."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return f"{_from_seconds(seconds)}.{rest:09d}Z"


def to_rfc3339_cut(nanoseconds: int) -> str:
    """The same with the first three digits: as clients are told times."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return f"{_from_seconds(seconds)}.{rest // _MILLION:03d}Z"


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= 19  # noqa: PLR2004 - those of 2**63


# Events come many to a second, and the date is what costs.
@lru_cache(maxsize=4096)
def _to_seconds(text: bytes) -> int:
    if _DATE_AND_TIME.fullmatch(text) is None:
        raise ValueError(f"not a time: {text!r}")
    moment = datetime.fromisoformat(text.decode("ascii")).replace(tzinfo=UTC)
    return (moment - _EPOCH) // _SECOND


@lru_cache(maxsize=4096)
def _from_seconds(seconds: int) -> str:
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError(f"not a time: {seconds} s") from error
    return moment.replace(tzinfo=None).isoformat()
