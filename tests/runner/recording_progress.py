"""A `Progress` that keeps its events in a list."""

from __future__ import annotations

from typing import Any

from milepost_reporter.recording import RecordingReporter
from milepost_runner.progress import Progress


class RecordingProgress(RecordingReporter, Progress):
    """What a handler is given in these tests, in place of one that reports to NATS."""

    @property
    def lines(self) -> list[str]:
        """What was logged."""
        return [event["message"] for event in self.of_kind("log")]

    def last_of(self, node: int | str) -> dict[str, Any]:
        """The newest event of a node."""
        return [event for event in self.of_kind("progress") if event.get("nodeId") == node][-1]
