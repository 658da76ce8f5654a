"""What a task says of its progress with `update_state(meta=…)`, in the words that people use for it (sans-I/O).

Those of celery-progress (`current`, `total`, `percent`, `description`), of Celery's and Flower's examples (`done`,
`current`, `total`, `status`), and plain ones. What is in none of these words is left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Final, NamedTuple

from celery.exceptions import SoftTimeLimitExceeded

_ROWS: Final = ("current", "done", "completed", "processed", "i", "n")
_TOTAL: Final = ("total", "count", "max")
_PERCENT: Final = ("percent", "percentage", "pct")
_EITHER: Final = ("progress", "fraction")
_MESSAGE: Final = ("description", "status", "message", "desc")

_HUNDRED: Final = 100


class Told(NamedTuple):
    """How far a task is: so many of a total, a share from 0 to 1, a line for people; what is not known is None."""

    rows: float | None
    total: float | None
    fraction: float | None
    message: str | None


def read(meta: object) -> Told | None:
    """What `meta` says; None when it says nothing in these words. Raises nothing but a time limit that strikes here."""
    try:
        if not isinstance(meta, Mapping):
            return None
        told = Told(_number(meta, _ROWS), _number(meta, _TOTAL), _share(meta), _line(meta))
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # whatever a mapping of somebody's own does
        return None
    if told.fraction is None and told.rows is not None and told.total:
        told = told._replace(fraction=_within(told.rows / told.total))
    return told if told.fraction is not None or told.rows is not None or told.message is not None else None


def _share(meta: Mapping[Any, Any]) -> float | None:
    """From `percent`, or from `progress`: a number with a fraction, up to 1, is a share, any other percents."""
    percent = _number(meta, _PERCENT)
    if percent is not None:
        return None if _number(meta, _ROWS) is not None and _number(meta, _TOTAL) else _within(percent / _HUNDRED)
    either = _number(meta, _EITHER)
    if either is None:
        return None
    return _within(either if isinstance(either, float) and either <= 1 else either / _HUNDRED)


def _number(meta: Mapping[Any, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = meta.get(name)
        if isinstance(value, bool) or not isinstance(value, Real):
            continue
        plain = value if isinstance(value, int) else float(value)
        if math.isfinite(plain) and plain >= 0:
            return plain
    return None


def _line(meta: Mapping[Any, Any]) -> str | None:
    return next((line for name in _MESSAGE if isinstance(line := meta.get(name), str) and line), None)


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)
