"""The demo's job does real work, and reports what it really did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from milepost_reporter import Reporter

from milepost import pipeline
from tests.milepost.console import environment

SOURCES = {
    "first.py": "alpha = beta(alpha)\n",
    "package/second.py": "def gamma(beta):\n    return beta\n",
    "site-packages/other.py": "never = 1\n",
    "test/test_first.py": "never = 2\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small tree of sources, some of which are nobody's business."""
    for name, text in SOURCES.items():
        path = tmp_path / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "lib"


def test_it_counts_names_and_not_keywords(root: Path, tmp_path: Path) -> None:
    with Reporter.recording() as job:
        report = pipeline.run(job, root, tmp_path / "names.sqlite")
    assert report["most used names"] == [("beta", 3), ("alpha", 2), ("gamma", 1)]
    assert report["files with most names"] == [("first.py", 3), ("package/second.py", 3)]
    assert pipeline.read_report(tmp_path / "names.sqlite") == report


def test_every_node_reports_its_real_count(root: Path, tmp_path: Path) -> None:
    with Reporter.recording() as job:
        pipeline.run(job, root, tmp_path / "names.sqlite")
    nodes = {node["nodeName"]: node for node in job.state.snapshot()["nodes"]}
    assert {name: (node["status"], node["rowCount"]) for name, node in nodes.items()} == {
        "Scan sources": ("completed", 2),
        "Tokenize": ("completed", 2),
        "Load into SQLite": ("completed", 6),
        "Index": ("completed", 2),
        "Query report": ("completed", 4),
    }
    snapshot = job.state.snapshot()
    assert snapshot["status"] == "completed"
    assert {node["nodeName"] for node in snapshot["plan"]["nodes"]} == set(nodes)
    assert snapshot["artifacts"][0]["name"] == "names.sqlite"
    assert snapshot["result"]["most used names"][0] == ["beta", 3]


def test_a_file_that_is_no_python_is_logged_and_left_out(root: Path, tmp_path: Path) -> None:
    (root / "broken.py").write_bytes(b"# coding: nonsense\nx = 1\n")
    with Reporter.recording() as job:
        pipeline.run(job, root, tmp_path / "names.sqlite")
    warnings = [line for line in job.state.snapshot()["logTail"] if line["level"] == "warning"]
    assert len(warnings) == 1
    assert warnings[0]["message"].startswith("broken.py left out")
    assert job.state.status == "completed"


def test_it_is_a_program_of_its_own_that_works_without_nats(root: Path, tmp_path: Path) -> None:
    database = tmp_path / "names.sqlite"
    ended = subprocess.run(
        [sys.executable, "-m", "milepost.pipeline", "--root", str(root), "--database", str(database)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=os.fspath(tmp_path),
    )
    assert ended.returncode == 0, ended.stderr
    assert "NATS_URL" in ended.stderr
    assert pipeline.read_report(database)["most used names"][0] == ("beta", 3)
