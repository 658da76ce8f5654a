"""The client under node's own test runner: each `*.test.js` is one test here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.node import program, tool

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.test.js"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.timeout(120)
def test_file(path: Path) -> None:
    """All tests of one file; node's own account when one fails."""
    node = program("node")
    if "service.js" in path.read_text(encoding="utf-8"):
        tool("esbuild")  # stands for npm's packages, of which such a test needs `ws`
    # its own session: what it starts (hubs, proxies) goes with it
    process = subprocess.Popen(
        [node, "--test", str(path)],
        env={**os.environ, "MILEPOST_BIN": str(Path(sys.executable).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=100)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"{path.name} did not end:\n{output}")
    assert process.returncode == 0, output


def test_there_are_files() -> None:
    assert FILES
