"""MILEPOST_TESTS_MUST_RUN=1: a skipped test fails the session, so that CI never passes by leaving something out."""

from __future__ import annotations

import os
from typing import Final

import pytest

VARIABLE: Final = "MILEPOST_TESTS_MUST_RUN"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail what would have passed."""
    if _skipped(session.config) and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why, and name each of them."""
    if skipped := _skipped(config):
        names = ", ".join(report.nodeid for report in skipped)
        terminalreporter.write_line(
            f"FAILED because {VARIABLE} is set and {len(skipped)} skipped: {names}", red=True, bold=True
        )


def _skipped(config: pytest.Config) -> list[pytest.TestReport | pytest.CollectReport]:
    """The skips that count: all of them where the variable is set, else none."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get(VARIABLE) != "1" or not isinstance(reporter, pytest.TerminalReporter):
        return []
    return list(reporter.stats.get("skipped", []))
