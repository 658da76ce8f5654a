from __future__ import annotations

from milepost_reporter.event import LOG, PROGRESS

from tests.runner.recording_progress import RecordingProgress


def told_by_another(progress: RecordingProgress) -> None:
    """Reports of the same run from elsewhere."""
    other = RecordingProgress()
    other.node("a", "A", total=3)
    with other.node("b"):
        other.log("in b")
    other(0.5, "half")
    for event, payload in zip(other.events, other.payloads, strict=True):
        progress.forward(event.get("kind", PROGRESS), payload)
    assert progress.events == other.events


def test_progress_is_called_as_a_function() -> None:
    progress = RecordingProgress()
    progress(0.25, "loading")
    progress(0.5)
    assert [(event["fraction"], event["message"]) for event in progress.events] == [(0.25, "loading"), (0.5, "loading")]


def test_what_another_process_told_goes_out_as_it_is_and_in_order() -> None:
    told_by_another(RecordingProgress())


def test_nodes_that_the_other_process_left_end_as_its_handler_did_and_only_those() -> None:
    progress = RecordingProgress()
    told_by_another(progress)
    before = len(progress.events)
    progress.close_forwarded("failed")
    progress.close_forwarded("failed")
    (end,) = progress.events[before:]
    assert (end["nodeId"], end["nodeName"], end["total"], end["status"]) == ("a", "A", 3, "failed")


def test_what_comes_after_the_end_is_late() -> None:
    progress = RecordingProgress()
    progress.take_back()
    progress.forward(LOG, b'{"kind":"log","message":"late"}')
    progress.forward(PROGRESS, b'{"nodeId":"a","status":"running"}')
    assert progress.stats.late == 2
    assert progress.lines == []


def test_what_is_no_event_is_refused_and_raises_nothing() -> None:
    progress = RecordingProgress()
    progress.forward(PROGRESS, b"{")
    assert progress.stats.refused == 1
