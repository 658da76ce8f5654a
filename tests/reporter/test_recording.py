"""The recording reporter and its fixture, as users' own tests have them."""

import pytest
from milepost_reporter.recording import RecordingReporter


def work(job: RecordingReporter, fail: bool = False) -> None:
    with job:
        for _ in job.track(range(3), "Load"):
            job.log("line")
        job.result({"rows": 3})
        if fail:
            raise ValueError("boom")


def test_the_fixture_records_a_job(recording_reporter: RecordingReporter) -> None:
    work(recording_reporter)
    snapshot = recording_reporter.state.snapshot()
    assert snapshot["status"] == "completed"
    assert [(node["nodeName"], node["rowCount"]) for node in snapshot["nodes"]] == [("Load", 3)]
    assert snapshot["result"] == {"rows": 3}
    assert [event["message"] for event in recording_reporter.of_kind("log")] == ["line"] * 3
    assert [event["status"] for event in recording_reporter.of_kind("job")] == ["running", "completed"]
    assert recording_reporter.stats.sent == len(recording_reporter.events)


def test_a_failure_is_recorded_and_passed_on(recording_reporter: RecordingReporter) -> None:
    with pytest.raises(ValueError, match="boom"):
        work(recording_reporter, fail=True)
    assert recording_reporter.events[-1]["error"]["message"] == "ValueError: boom"


def test_nothing_is_conflated(recording_reporter: RecordingReporter) -> None:
    for number in range(100):
        recording_reporter.report(number / 100)
    assert [event["fraction"] for event in recording_reporter.events] == [n / 100 for n in range(100)]
