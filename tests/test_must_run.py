"""The switch that lets no test be skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.must_run import VARIABLE

ROOT = Path(__file__).resolve().parents[1]
SKIPPING = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skip(reason="its part is not here")
def test_that_needs_a_part():
    pass
"""


TOGETHER = pytest.mark.parametrize("workers", ["0", "2"])
"""One test after the other, and several at a time."""


def session(folder: Path, must_run: str | None, workers: str = "0") -> subprocess.CompletedProcess[str]:
    """A pytest session of its own with one test that passes and one that is skipped."""
    (folder / "test_some.py").write_text(SKIPPING)
    kept = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.must_run", "-p", "no:cacheprovider"),
            *("-n", workers, "--dist", "loadfile", "--rootdir", folder, folder),
        ],
        cwd=ROOT,
        env=kept if must_run is None else {**kept, VARIABLE: must_run},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("must_run", [None, "", "0"])
def test_without_the_switch_a_skipped_test_is_no_failure(tmp_path: Path, must_run: str | None) -> None:
    ended = session(tmp_path, must_run)
    assert ended.returncode == 0, ended.stdout
    assert "1 passed, 1 skipped" in ended.stdout
    assert VARIABLE not in ended.stdout


@TOGETHER
def test_with_the_switch_a_skipped_test_fails_the_session_and_is_named(tmp_path: Path, workers: str) -> None:
    ended = session(tmp_path, "1", workers)
    assert ended.returncode == 1, ended.stdout
    told = ended.stdout.splitlines()[-1]
    assert VARIABLE in told
    assert told.startswith("FAILED")
    assert "1 skipped" in told
    assert told.endswith("test_some.py::test_that_needs_a_part")


@TOGETHER
def test_with_the_switch_a_session_that_only_skips_fails_too(tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text("collect_ignore = ['test_some.py']\n")
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.skip('all of it', allow_module_level=True)\n")
    ended = session(tmp_path, "1", workers)
    assert ended.returncode == 1, ended.stdout
    assert "test_whole.py" in ended.stdout
