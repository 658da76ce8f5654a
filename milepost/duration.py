"""Durations as people write them: `90`, `90s`, `15m`, `1h30m`, `7d`."""

from __future__ import annotations

import re
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)
_WHOLE: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+", re.ASCII)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def parse(text: str) -> float:
    """`text` in seconds; a bare number is seconds. ValueError otherwise, with what is understood."""
    text = text.strip().lower()
    if _NUMBER.fullmatch(text):
        return float(text)
    if _WHOLE.fullmatch(text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    raise ValueError(f"{text!r} is no duration: write 90s, 15m, 1h30m or 7d")


def clock(seconds: float) -> str:
    """Seconds as a person reads them at a glance: `0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
