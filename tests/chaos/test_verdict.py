"""When a scenario is off."""

from __future__ import annotations

from collections import Counter

import pytest

from chaos.judge import Finding
from chaos.verdict import Verdict
from tests.chaos.logs import a_log, entry

END = entry(4, kind="job", status="completed")


def a_verdict(*findings: Finding) -> Verdict:
    verdict, ledger = Verdict("test"), a_log(3, END)
    verdict.stored(ledger, 3)
    for finding in findings:
        verdict.read("reader", "WebSocket", finding, ledger)
    return verdict


def test_a_verdict_that_is_right() -> None:
    verdict = a_verdict(Finding(delivered=4, ends={1: 1}), Finding(delivered=4, ends={1: 1}))
    assert (verdict.ok, verdict.published, verdict.delivered, verdict.ends_told()) == (True, 4, 8, "1 / - / -")


@pytest.mark.parametrize(
    "finding",
    [
        Finding(ends={1: 1}, lost=1),
        Finding(ends={1: 1}, duplicated=1),
        Finding(ends={1: 1}, disordered=1),
        Finding(ends={1: 1}, problems=["something"]),
        Finding(ends={1: 2}),
        Finding(ends={}),
    ],
)
def test_one_reader_with_something_off_fails_the_scenario(finding: Finding) -> None:
    """A second end, and an end that never came, included."""
    assert not a_verdict(Finding(ends={1: 1}), finding).ok


def test_a_publisher_whose_events_are_not_in_the_log_fails_the_scenario() -> None:
    verdict = Verdict("test")
    verdict.stored(a_log(3), 4)
    assert (verdict.ok, verdict.lost) == (False, 1)


def test_ends_are_told_with_their_range() -> None:
    verdict = Verdict("test", ends={"WebSocket": Counter({1: 5, 2: 1}), "SSE": Counter({1: 2})})
    assert verdict.ends_told() == "1…2 / 1 / -"
    assert not verdict.ok
