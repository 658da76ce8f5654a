"""The queues' benchmark measures what it says: every job of every rival begins, and is counted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.queues.__main__ import Figures, measure
from benchmarks.queues.milepost_peer import MilepostPeer
from benchmarks.queues.peer import Peer
from benchmarks.queues.starts import VARIABLE, note, read
from benchmarks.queues.taskiq_peer import TaskiqPeer


@pytest.mark.parametrize(
    "peer", [MilepostPeer(), TaskiqPeer(results=True), TaskiqPeer(results=False)], ids=lambda peer: peer.name
)
async def test_every_job_begins(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    figures = await measure(peer, single=3, flood=60)
    assert isinstance(figures, Figures)
    assert min(figures) > 0


def test_a_job_that_begins_twice_counts_as_it_did_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = tmp_path / "starts"
    monkeypatch.setenv(VARIABLE, str(starts))
    for number in (1, 2, 1):
        note(number)
    begun = read(starts)
    assert sorted(begun) == [1, 2]
    assert begun[1] <= begun[2]
