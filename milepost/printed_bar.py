"""A line that tqdm printed, as a bar (sans-I/O).

Its standard format, in every variant of `tqdm.format_meter`: with a total and without, scaled counts (`1.2k`), rates as
`it/s` and `s/it`, a description before and a postfix behind, and cut at the terminal's width as long as the counts are
there. Escape sequences must be gone. A scaled count is what was printed, with 1,000 for each letter: that a bar divides
by 1,024 is not in its line.

It is found from its clock, which nothing else prints, and read to both sides of it: a pattern for the whole line would
try, in a long one, every place for every part.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

_TIME: Final = r"-?(?:\d+:)?\d\d:\d\d"
_CLOCK: Final = re.compile(rf" \[{_TIME}(?P<left><(?:{_TIME}|\?))?(?=[,\]]|\Z)")
_COUNT: Final = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?[kMGTPEZY]?"
_COUNTS: Final = re.compile(rf"(?P<rows>{_COUNT}|nan|-?inf)/(?P<total>{_COUNT}|\?)\Z")
_TRAILING_COUNT: Final = re.compile(rf"(?:\A|(?<= ))(?P<rows>{_COUNT}|nan|-?inf)\Z")
_BAR: Final = re.compile(r"(?:\A|: ?) {0,2}(?P<percent>-?\d{1,9})%(?:\|[^|]*\||\Z)\Z|(?:\A|: ?)\|[^|]*\|\Z")
_RATE: Final = re.compile(
    r", (?P<rate>\?| *-?(?:\d+\.\d+|\d+|inf|nan))"
    r"(?:(?P<inverse>[kMGTPEZY]?s/)(?P<per>[^,\]]*)|(?P<unit>[^,\]]*?)/s(?=[,\]]|\Z))"
    r"(?P<more>, .*)?\]?\Z"
)
_BRACKET: Final = re.compile(r"[\[\]]")
_SCALED_RATE: Final = re.compile(r"(?:\d\.\d\d|\d\d\.\d|\d{3})\Z")
_SCALE: Final = {letter: 1_000**power for power, letter in enumerate("kMGTPEZY", 1)}
_LONGEST_COUNTS: Final = 64
_LARGEST: Final = 2**63


class PrintedBar(NamedTuple):
    """`rows` of `total` `unit`: None where the line does not say. `name` is empty without a description.

    `behind` is what somebody else has written behind the bar before a line feed, as what a loop prints is.
    """

    name: str
    rows: float | None
    total: float | None
    unit: str | None
    postfix: str | None
    complete: bool
    behind: str = ""


def parse_bar(line: str) -> PrintedBar | None:
    """The bar that a line begins with, or None."""
    clock = _CLOCK.search(line)
    if clock is None:
        return None
    end = _end(line, clock.end())
    bar = _parse(line[:end], clock)
    return bar and bar._replace(behind=line[end:].strip())


def _end(line: str, place: int) -> int:
    """Where the bracket around the clock is closed: a postfix may have brackets of its own. Cut, it has no end."""
    depth = 1
    for bracket in _BRACKET.finditer(line, place):
        depth += 1 if bracket[0] == "[" else -1
        if depth == 0:
            return bracket.end()
    return len(line)


def _parse(line: str, clock: re.Match[str]) -> PrintedBar | None:
    rate = _RATE.match(line, clock.end())
    unit, postfix = _unit(rate), _postfix(rate)
    head = line[: clock.start()]
    if clock["left"]:
        return _with_total(head, unit, postfix)
    return None if rate is None else _without_total(head, _raw_unit(rate), postfix)


def _with_total(head: str, unit: str | None, postfix: str | None) -> PrintedBar | None:
    """`name:  42%|####    | 42/100`, or without the bar between the signs."""
    counts = _COUNTS.search(head, max(0, len(head) - _LONGEST_COUNTS))
    if counts is None:
        return None
    front = head[: counts.start()].removesuffix(" ")
    bar = _BAR.search(front, _bar_from(front))
    if bar is None:
        return None
    rows, total = _number(counts["rows"]), _number(counts["total"])
    complete = bar["percent"] == "100" and (counts["rows"] == counts["total"] or rows == total)
    return PrintedBar(_name(front[: bar.start()]), rows, total, unit, postfix, complete)


def _bar_from(front: str) -> int:
    """Where the bar's part of it begins: at the colon before the percentage, or at its beginning."""
    sign = front.rfind("|", 0, max(0, len(front) - 1))
    stop = len(front) if sign < 0 else sign
    colon = front.rfind(": ", 0, stop)
    return max(0, colon)


def _without_total(head: str, unit: str, postfix: str | None) -> PrintedBar | None:
    """`name: 42it`."""
    if not head.endswith(unit):
        return None
    front = head[: len(head) - len(unit)]
    count = _TRAILING_COUNT.search(front, max(0, len(front) - _LONGEST_COUNTS))
    if count is None:
        return None
    before = front[: count.start()]
    if before and not before.endswith(": "):
        return None
    return PrintedBar(_name(before), _number(count["rows"]), None, unit.strip() or None, postfix, complete=False)


def _name(text: str) -> str:
    return text.rstrip(": ").strip()


def _unit(rate: re.Match[str] | None) -> str | None:
    return None if rate is None else _raw_unit(rate).strip() or None


def _raw_unit(rate: re.Match[str]) -> str:
    """The unit as it stands; not the letter by which the rate is scaled, which only rates of three digits are."""
    number = rate["rate"]
    if rate["inverse"]:
        return rate["per"]
    unit: str = rate["unit"]
    scaled = _SCALED_RATE.match(number) is not None and unit[:1] in _SCALE
    return unit[1:] if scaled else unit


def _postfix(rate: re.Match[str] | None) -> str | None:
    if rate is None or rate["more"] is None:
        return None
    more: str = rate["more"].removeprefix(", ").removesuffix("]").strip()
    return more or None


def _number(text: str) -> float | None:
    """A count as JSON has it; None when it is not finite, or nobody's count."""
    factor = 1
    if text[-1] in _SCALE:
        text, factor = text[:-1], _SCALE[text[-1]]
    try:
        number: float = int(text) * factor
    except ValueError:
        try:
            number = float(text) * factor
        except ValueError:
            return None
    if not math.isfinite(number) or abs(number) > _LARGEST:
        return None
    return int(number) if number == int(number) and factor > 1 else number
