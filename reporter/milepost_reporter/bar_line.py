"""A bar as one line of text, for outputs that are no terminals (sans-I/O).

    Load: 3,000/10,000 rows, 30 %, 1,200 rows/s, 5 s left

It is plainly worded on purpose: whoever looks for tqdm's own bars in a program's output does not take it for one.
"""

import math
import re
from typing import Final, NamedTuple

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")

_FEW: Final = 10
"""Rates below have a decimal."""

_MINUTE: Final = 60
_HOUR: Final = 3_600
_AGES: Final = 1e12


class Reading(NamedTuple):
    """What a bar shows at one moment. `elapsed` is in seconds, `rate` in units a second."""

    name: str
    n: float
    total: float | None
    unit: str
    message: str | None
    elapsed: float
    rate: float | None
    divisor: float | None = None
    """Between a unit and the next larger one, when amounts are to be written with k, M, G."""


class Pace:
    """When the next line is due: at once, and then no sooner than `interval` seconds after the last."""

    def __init__(self) -> None:
        self._next = -math.inf

    def due(self, moment: float, interval: float) -> bool:
        """Whether a line may be written now; then it counts as written. `moment` is a monotonic clock's."""
        if moment < self._next:
            return False
        self._next = moment + interval
        return True


def plain(text: str) -> str:
    """Without colours and line breaks."""
    return _CONTROLS.sub(" ", _ESCAPES.sub("", text)).strip()


def line(reading: Reading) -> str:
    """A bar under way."""
    parts = [*_so_far(reading), *_pace(reading)]
    total = _sensible_total(reading)
    if total is not None and reading.rate is not None and 0 < reading.rate < math.inf:
        parts.append(f"{_duration((total - reading.n) / reading.rate)} left")
    return _joined(reading, parts)


def last_line(reading: Reading, status: str) -> str:
    """A bar that has ended: completed, failed or cancelled."""
    parts = [*_so_far(reading), *_pace(reading)]
    parts.append(f"{'in' if status == 'completed' else f'{status} after'} {_duration(reading.elapsed)}")
    return _joined(reading, parts)


def _joined(reading: Reading, parts: list[str]) -> str:
    return f"{reading.name}: {', '.join([*parts, reading.message] if reading.message else parts)}"


def _so_far(reading: Reading) -> list[str]:
    total = _sensible_total(reading)
    if total is None:
        return [_amount(reading, reading.n)]
    scale = _scale(reading, total)
    return [f"{_scaled(reading.n, scale)}/{_amount(reading, total)}", f"{_percent(reading.n, total)} %"]


def _percent(done: float, total: float) -> int:
    """Rounded down: 100 are all."""
    hundredfold = 100 * done
    return int(hundredfold / total if math.isfinite(hundredfold) else 100 * (done / total))


def _sensible_total(reading: Reading) -> float | None:
    """None also where more was done than was expected: the expectation was wrong."""
    total = reading.total
    return total if total and math.isfinite(total) and 0 <= reading.n <= total else None


def _pace(reading: Reading) -> list[str]:
    rate = reading.rate
    if not rate or not math.isfinite(rate):
        return []
    whole = reading.divisor is None and abs(rate) >= _FEW
    return [f"{_amount(reading, round(rate) if whole else round(rate, 1))}/s"]


def _amount(reading: Reading, value: float) -> str:
    """`3,000 rows`, `1.2 MB`."""
    scale = _scale(reading, value)
    return f"{_scaled(value, scale)} {_PREFIXES[scale.steps]}{reading.unit}".rstrip()


class _Scale(NamedTuple):
    steps: int
    by: float


def _scale(reading: Reading, value: float) -> _Scale:
    """The prefix that fits `value`, as its place among all, and what it stands for."""
    scale = _Scale(0, 1)
    if reading.divisor is not None and reading.divisor > 1:
        while abs(value) / scale.by >= reading.divisor and scale.steps + 1 < len(_PREFIXES):
            scale = _Scale(scale.steps + 1, scale.by * reading.divisor)
    return scale


def _scaled(value: float, scale: _Scale) -> str:
    return f"{value / scale.by:,.1f}" if scale.steps else _number(value)


def _number(value: float) -> str:
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{float(value):,.2f}".rstrip("0").rstrip(".")


def _duration(seconds: float) -> str:
    whole = max(0, round(min(seconds, _AGES)))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR:,} h {whole % _HOUR // _MINUTE} min"
