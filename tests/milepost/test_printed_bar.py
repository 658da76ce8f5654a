"""Everything that tqdm prints in its standard format is read back; what is no bar is not taken for one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tqdm import tqdm

from milepost.printed_bar import PrintedBar, parse_bar
from milepost.terminal_lines import TerminalLines

WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N"), include_characters=" _-.()#=/"), max_size=20)
UNITS = st.one_of(st.sampled_from(["it", "B", " rows", "img", "file", "s", " kB", "epoch/run"]), st.just("batch"))
COUNTS = st.one_of(st.integers(0, 10**12), st.floats(1, 1e9))
RATES = st.none() | st.just(0.0) | st.floats(1e-6, 1e9)


def printed(meter: dict[str, Any]) -> str:
    """The line as a person sees it on the terminal."""
    seen = list(TerminalLines().feed(f"\r{tqdm.format_meter(**meter)}\n".encode()))
    return seen[-1].text


def as_printed(count: float, divisor: int) -> float:
    """A scaled count, as three digits and a letter say it."""
    text = tqdm.format_sizeof(count, divisor=divisor)
    letter = text[-1] if text[-1].isalpha() else ""
    return float(text.removesuffix(letter)) * 1_000.0 ** " kMGTPEZY".index(letter or " ")


METERS = st.fixed_dictionaries(
    {
        "n": COUNTS,
        "total": st.none() | COUNTS,
        "elapsed": st.just(0) | st.floats(1e-6, 1e6),
        "prefix": WORDS,
        "ascii": st.sampled_from([True, False, " .oO0"]),
        "unit": UNITS,
        "unit_scale": st.sampled_from([False, True, 3]),
        "rate": RATES,
        "postfix": st.none() | WORDS,
        "unit_divisor": st.sampled_from([1000, 1024]),
        "ncols": st.sampled_from([None, 0, 400]),
        "colour": st.sampled_from([None, "green", "#00ff00"]),
    }
)


@given(METERS)
def test_what_tqdm_prints_is_read_back(meter: dict[str, Any]) -> None:
    n, total, scale = meter["n"], meter["total"], meter["unit_scale"]
    assume(not total or n <= total or n >= total + 0.5)  # between them tqdm warns that its bar has no room
    line = printed(meter)
    bar = parse_bar(line)
    assert bar is not None, line
    known = bool(total) and n < total + 0.5
    if scale is True:
        divisor = meter["unit_divisor"]
        assert bar.rows == pytest.approx(as_printed(n, divisor)), line
        assert bar.total == (pytest.approx(as_printed(total, divisor)) if known else None), line
    else:
        assert bar.rows == n * int(scale or 1), line
        assert bar.total == (total * int(scale or 1) if known else None), line
        assert bar.complete is (known and n == total), line
    assert bar.unit == meter["unit"].strip(), line
    assert bar.name == meter["prefix"].rstrip(": ").strip(), line
    assert (bar.postfix or "") == (meter["postfix"] or "").strip(), line


CUT = "cut:  42%|█| 42/100 [00:01<00:01, 42.00it/s, loss=0.12345, accura"


@pytest.mark.parametrize(
    ("line", "figures"),
    [
        ("Load:  42%|████▏     | 42/100 [00:01<00:01, 42.00it/s]", ("Load", 42, 100, "it", None, False)),
        (" 42%|####      | 42/100 [00:01<00:01,  2.00s/it]", ("", 42, 100, "it", None, False)),
        ("  0%|          | 0/100 [00:00<?, ?it/s]", ("", 0, 100, "it", None, False)),
        ("100%|##########| 1.00M/1.00M [1:00:01<00:00, 277B/s]", ("", 10**6, 10**6, "B", None, True)),
        ("a: b: 1.23Mrows [00:01, 1.23Mrows/s, lr=1, x]", ("a: b", 1_230_000, None, "rows", "lr=1, x", False)),
        ("5it [00:01,  4.99it/s]", ("", 5, None, "it", None, False)),
        (CUT, ("cut", 42, 100, "it", "loss=0.12345, accura", False)),
        ("cut:  42%|█| 42/100 [00:01<00:01, 42.0", ("cut", 42, 100, None, None, False)),
        ("own format: |    | 3/? [00:01<?,  3.00it/s]", ("own format", 3, None, "it", None, False)),
    ],
)  # fmt: skip
def test_figures(line: str, figures: tuple[Any, ...]) -> None:
    assert parse_bar(line) == PrintedBar(*figures)


@pytest.mark.parametrize("postfix", ["", ", loss=1", ", at=[1, 2], lr=1"])
@pytest.mark.parametrize("counts", ["5it [00:01", " 42%|####  | 42/100 [00:01<00:01"])
@pytest.mark.parametrize("behind", ["epoch 1", "Traceback (most recent call last):", "[INFO] took [1 s]", "x, y]"])
def test_what_is_written_behind_a_bar_is_not_part_of_it(counts: str, postfix: str, behind: str) -> None:
    line = f"{counts},  4.99it/s{postfix}]"
    alone = parse_bar(line)
    assert alone is not None
    assert (alone.unit, alone.postfix, alone.behind) == ("it", postfix.removeprefix(", ") or None, "")
    assert parse_bar(f"{line}   {behind}") == alone._replace(behind=behind)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "12:30 [00:01] started",
        "took [00:01, 3 items/s]",
        "42% of 100 [00:01<00:02, fast]",
        "5it [00:01, 3.00row/s]",
        "a5it [00:01, 3.00it/s]",
        "|x| 1/2",
        "copied 5/10 [00:01<00:02, 1.00it/s]",
    ],
)
def test_what_is_no_bar(line: str) -> None:
    assert parse_bar(line) is None


@given(st.text(st.sampled_from("0123456789%|#/[]:<>,. ?itskM-\u2588"), max_size=200))
def test_what_looks_like_one_never_raises_and_counts_are_finite(line: str) -> None:
    bar = parse_bar(line)
    for count in (bar.rows, bar.total) if bar else ():
        assert count is None or math.isfinite(count)


@pytest.mark.parametrize("part", ["1", "1/", "|", "%|", ": ", " [00:01", " [00:01,", "[00:01<00:01, 1it/s", ", "])
def test_a_long_line_costs_no_more_than_its_length(part: str) -> None:
    """A pattern that tries every place for every part would take minutes for these: the suite's time limit tells."""
    line = part * (200_000 // len(part))
    parse_bar(line + " [00:01, 1.00it/s]")
    parse_bar(line + " [00:01<00:02, 1.00it/s")
    parse_bar("1% " + line)
