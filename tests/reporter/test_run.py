"""Which events are live, which one ends a run, and which come too late."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.event import Event
from milepost_reporter.run import RunGate, Verdict

LIVE, END, LATE = Verdict.LIVE, Verdict.END, Verdict.LATE


def job(status: str, run: int | None = None) -> Event:
    return Event(status=status, run=run)


def node(run: int | None = None) -> Event:
    return Event(nodeId=1, status="completed", run=run)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            [(job("running"), LIVE), (node(), LIVE), (job("completed"), END), (node(), LATE)],
            id="nothing after the end",
        ),
        pytest.param(
            [(job("failed"), END), (job("completed"), LATE), (job("running"), LATE)],
            id="the first end counts",
        ),
        pytest.param(
            [(job("completed"), END), (job("running", 2), LIVE), (node(), LIVE), (node(1), LATE)],
            id="a higher run opens after the end",
        ),
        pytest.param(
            [(node(), LIVE), (job("queued", 2), LIVE), (job("completed", 1), LATE), (job("failed"), END)],
            id="a higher run closes the one before",
        ),
        pytest.param([(job("completed", 3), END), (node(2), LATE), (node(3), LATE)], id="an end of a run never opened"),
        pytest.param([(node(5), LIVE), (node(), LIVE), (node(4), LATE)], id="the first event may be any run's"),
        pytest.param([(job("running", 2), LIVE), (job("running", 2), LIVE)], id="opened twice"),
        pytest.param(
            [(node(1), LIVE), (node(2), LIVE), (job("running", 2), LIVE), (node(1), LATE)],
            id="a child's event overtakes the opening",
        ),
        pytest.param([(job("cancelling"), LIVE), (job("cancelled"), END)], id="cancelling is no end"),
    ],
)
def test_runs(steps: list[tuple[Event, Verdict]]) -> None:
    gate = RunGate()
    assert [gate.admit(event) for event, _ in steps] == [verdict for _, verdict in steps]


def test_the_subjects_run_outranks_the_payloads() -> None:
    gate = RunGate()
    assert gate.admit(job("completed", 7), run=1) is END
    assert gate.run == 1
    assert gate.admit(job("completed"), run=1) is LATE
    assert gate.admit(job("completed"), run=2) is END


@st.composite
def steps(draw: st.DrawFn) -> tuple[Event, int | None]:
    fields: dict[str, Any] = {"run": draw(st.none() | st.integers(1, 4))}
    if draw(st.booleans()):
        fields["nodeId"] = 1
        fields["status"] = draw(st.sampled_from(["running", "completed", "failed"]))
    else:
        fields["status"] = draw(st.sampled_from(["queued", "running", "cancelling", "completed", "failed"]))
    return Event(**fields), draw(st.none() | st.none() | st.integers(1, 4))


@given(st.lists(steps(), max_size=40))
def test_one_end_a_run_and_nothing_live_behind_it(sequence: list[tuple[Event, int | None]]) -> None:
    gate = RunGate()
    ended: set[int] = set()
    newest = 0
    for event, subject_run in sequence:
        verdict = gate.admit(event, subject_run)
        if verdict is LATE:
            continue
        run = gate.run
        assert run >= newest, "live of an older run"
        assert run not in ended, "live or an end behind the end"
        assert run == (subject_run or event.run or run)
        newest = run
        if verdict is END:
            assert event.is_terminal
            ended.add(run)
        else:
            assert not event.is_terminal, "the first terminal event is the end"
