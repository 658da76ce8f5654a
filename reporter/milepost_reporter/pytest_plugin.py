"""The `recording_reporter` fixture, for tests of programs that report."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from milepost_reporter.recording import RecordingReporter


@pytest.fixture
def recording_reporter() -> "Iterator[RecordingReporter]":
    """A reporter that keeps its events in a list."""
    from milepost_reporter.recording import RecordingReporter

    reporter = RecordingReporter()
    yield reporter
    reporter.close()
