"""Payloads as bytes: what the reporter sends is JSON that every reader takes.

ValueError
 └── BadValueError     a value cannot be sent; the message says which and why
"""

import json
import math
import time
from datetime import UTC, datetime
from typing import Any, Final

from milepost_reporter.event import MAX_PAYLOAD, BadEvent, parse_event

MAX_MESSAGE: Final = 4_096
"""Characters of a message; longer ones are cut."""

MAX_DETAILS: Final = 8_192
"""Characters of an error's details; the last ones are kept, where a traceback has its point."""

_CONTROLS: Final = {code: "\ufffd" for code in range(32) if chr(code) not in "\t\n\r"}

_LARGEST: Final = 2**63
"""Whole numbers beyond are nobody's count."""

_ROUNDING: Final = 1e-6
"""What a sum of fractions may be off by."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class BadValueError(ValueError):
    """A value that cannot be sent."""


def encode(fields: dict[str, Any]) -> bytes:
    """A payload of `fields`, those that are None left out. BadValueError when JSON cannot say it."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        # Half a surrogate pair, as in the names of odd files, is not Unicode: it becomes a question mark.
        payload = _encode(given).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        raise BadValueError(str(error) or type(error).__name__) from None
    if len(payload) > MAX_PAYLOAD:
        raise BadValueError(f"{len(payload)} bytes are more than {MAX_PAYLOAD}")
    return payload


def encode_checked(fields: dict[str, Any]) -> bytes:
    """The same for values of the caller's own making, read back as every reader will read them."""
    payload = encode(fields)
    try:
        parse_event(payload)
    except BadEvent as error:
        raise BadValueError(str(error)) from None
    return payload


def moment(seconds: float) -> str:
    """Seconds since 1970 as the wire has a time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The present moment as the wire has a time."""
    return moment(time.time())


def text(name: str, value: object, limit: int = MAX_MESSAGE) -> str:
    """`value`, cut to `limit` characters. BadValueError when it is not text."""
    if not isinstance(value, str):
        raise BadValueError(f"{name} must be text, not {type(value).__name__}")
    return value if len(value) <= limit else value[: limit - 1] + "…"


def tail(given: str) -> str:
    """An error's details as a payload has room for them: the last characters, and signs in place of control characters.

    JSON writes each of those in six bytes: with them the end of a job could be too large to be told.
    """
    return given[-MAX_DETAILS:].translate(_CONTROLS)


def optional_text(name: str, value: object) -> str | None:
    """`text`, or None."""
    return None if value is None else text(name, value)


def number(name: str, value: object) -> int | float:
    """`value` as JSON counts: other libraries' numbers too. BadValueError when it is none, or not finite."""
    if type(value) is int and -_LARGEST <= value <= _LARGEST:
        return value
    if isinstance(value, str | bytes | bool) or value is None:
        raise BadValueError(f"{name} must be a number, not {type(value).__name__}")
    try:
        return _plain(value)
    except Exception as error:
        raise BadValueError(f"{name} must be a finite number: {error}") from error


def _plain(value: Any) -> int | float:  # noqa: ANN401 - whatever claims to be a number
    if hasattr(value, "__index__"):
        whole = int(value.__index__())
        if abs(whole) > _LARGEST:
            raise BadValueError("too large")
        return whole
    real = float(value)
    if not math.isfinite(real):
        raise BadValueError("not finite")
    return real


def fraction(value: object) -> float:
    """`value` in 0..1, forgiving what rounding does. BadValueError when it is no such number."""
    given = number("fraction", value)
    if not -_ROUNDING <= given <= 1 + _ROUNDING:
        raise BadValueError(f"fraction must be within 0..1, not {given}")
    return min(max(float(given), 0.0), 1.0)
