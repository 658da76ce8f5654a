"""Totals reach Prometheus exactly once, and several processes' add up."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.metrics import Metrics
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]


def samples(text: str) -> dict[str, float]:
    """Every series that a scrape shows, as `name{label="value"}`."""
    return {
        sample.name + "".join(f"{{{name}={value!r}}}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(metrics: Metrics) -> dict[str, float]:
    return samples(metrics.exposition().decode())


@pytest.fixture(autouse=True)
def single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 5)), max_size=20))
def test_what_was_counted_is_carried_over_exactly_once(steps: list[dict[str, int]]) -> None:
    """However often it is looked at in between."""
    totals: dict[str, int] = {}
    metrics = Metrics()
    metrics.count("test_errors", "Errors.", "code", lambda: totals)
    for step in steps:
        for value, more in step.items():
            totals[value] = totals.get(value, 0) + more
        metrics.sync()
    expected = {f"test_errors_total{{code='{value}'}}": total for value, total in totals.items() if total}
    assert scraped(metrics) == scraped(metrics) == expected


def test_a_counter_without_a_label_is_there_from_the_start() -> None:
    """A rate of nothing is zero, not missing."""
    total = 0
    metrics = Metrics()
    metrics.count("test_flushes", "Flushes.", None, lambda: total)
    assert scraped(metrics) == {"test_flushes_total": 0}
    total = 7
    assert scraped(metrics) == {"test_flushes_total": 7}


def test_a_total_that_falls_is_waited_for() -> None:
    """A counter never goes back; whoever counts anew is carried over again from where it was, and harms no other."""
    totals = {"a": 5, "b": 0}
    metrics = Metrics()
    metrics.count("test_errors", "Errors.", "code", lambda: totals)
    metrics.sync()
    totals |= {"a": 3, "b": 1}
    assert scraped(metrics) == {"test_errors_total{code='a'}": 5, "test_errors_total{code='b'}": 1}
    totals["a"] = 6
    assert scraped(metrics)["test_errors_total{code='a'}"] == 6


def test_a_gauge_shows_what_is() -> None:
    now = 3.0
    metrics = Metrics()
    metrics.gauge("test_connections", "Connections.", lambda: now)
    assert scraped(metrics) == {"test_connections": 3}
    now = 1.5
    assert scraped(metrics) == {"test_connections": 1.5}


def test_a_counters_birthday_is_not_shown_and_other_programs_keep_theirs() -> None:
    """prometheus-client's own switch would turn it off for the program that embeds the hub as well."""
    from prometheus_client import CollectorRegistry, Counter, generate_latest

    metrics = Metrics()
    metrics.count("test_flushes", "Flushes.", None, lambda: 1)
    assert b"_created" not in metrics.exposition()
    theirs = CollectorRegistry()
    Counter("theirs", "Another library's.", registry=theirs)
    assert b"theirs_created" in generate_latest(theirs)


def test_two_hubs_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.count("test_flushes", "Flushes.", None, lambda: 1)
    other.count("test_flushes", "Flushes.", None, lambda: 2)
    assert (scraped(one), scraped(other)) == ({"test_flushes_total": 1}, {"test_flushes_total": 2})


@contextlib.contextmanager
def counting(directory: Path, count: int) -> Iterator[dict[str, float]]:
    """A process that has counted so far, and what a scrape of it shows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hub.counting", str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)},
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin:
        text = ""
        while not text.endswith("\0"):
            read = process.stdout.read(1)
            assert read, f"it ended with {process.wait()}"
            text += read
        yield samples(text.rstrip("\0"))


def test_the_counts_of_several_processes_add_up(tmp_path: Path) -> None:
    """Whichever of them is asked; a gauge is the sum too, or the lowest where one that fails is news."""
    with counting(tmp_path, 3) as alone, counting(tmp_path, 4) as together:
        assert alone["test_events_total"] == 3
        assert together == {
            "test_events_total": 7,
            "test_errors_total{code='shared'}": 7,
            "test_errors_total{code='only_3'}": 1,
            "test_errors_total{code='only_4'}": 1,
            "test_connections": 7,
            "test_up": 3,
        }
