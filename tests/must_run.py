"""MILEPOST_TESTS_MUST_RUN=1: a skipped test fails the session, so that CI never passes by leaving something out."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Final

import pytest

VARIABLE: Final = "MILEPOST_TESTS_MUST_RUN"
_PASSED: Final = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Fail what would have passed; and, when all else has been said, name each test that was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert isinstance(reporter, pytest.TerminalReporter)
    skipped = reporter.stats.get("skipped", []) if os.environ.get(VARIABLE) == "1" else []
    if skipped and session.exitstatus in _PASSED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    if skipped:
        names = ", ".join(report.nodeid for report in skipped)
        reporter.write_line(f"FAILED because {VARIABLE} is set and {len(skipped)} skipped: {names}", red=True)
