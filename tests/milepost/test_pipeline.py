"""The demo's job does real work, and reports what it really did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from milepost_reporter import Reporter
from milepost_reporter.cancel import Cancelled, CancelToken
from milepost_runner.registry import REGISTRY, load

from milepost import pipeline
from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service
from tests.milepost.console import environment, milepost

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


def test_it_reports_its_database_and_its_result(
    service: Service, shared_nats: NatsServer, root: Path, tmp_path: Path
) -> None:
    job = {"NATS_URL": shared_nats.url, "MILEPOST_TENANT": "pipeline", "MILEPOST_JOB": "names"}
    database = tmp_path / "names.sqlite"
    command = [sys.executable, "-m", "milepost.pipeline", "--root", str(root), "--database", str(database)]
    subprocess.run(command, env=environment(job), check=True, timeout=60)
    assert milepost("watch", "names", env=service.environment("pipeline")).returncode == 0
    headers = {"Authorization": f"Bearer {service.token('pipeline')}"}
    snapshot = httpx.get(f"{service.url}/api/jobs/names", headers=headers, trust_env=False).json()["snapshot"]
    assert snapshot["artifacts"][0]["uri"] == database.as_uri()
    assert snapshot["result"]["most used names"][0] == ["beta", 3]


class ToldWhenLookedAt(CancelToken):
    """A token that is requested when it has been looked at so many times, in whatever way."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._left = looks

    @property
    def requested(self) -> bool:
        self._look()
        return super().requested

    def raise_if_requested(self) -> None:
        self._look()
        super().raise_if_requested()

    def _look(self) -> None:
        self._left -= 1
        if not self._left:
            self.request("enough")


@pytest.mark.parametrize("looks", [1, 2, 4])
def test_it_stops_between_two_files_and_in_the_middle_of_the_database_s_work(root: Path, looks: int) -> None:
    """None of its nodes has failed then."""
    (root / "long.py").write_text("x = 1\n" * 20_000)
    with Reporter.recording() as job, pytest.raises(Cancelled, match="enough"):
        pipeline.run(job, root, None, cancel=ToldWhenLookedAt(looks))
    assert {event["status"] for event in job.of_kind("progress")} == {"running", "cancelled"}


def test_as_a_handler_it_takes_a_payload_that_names_no_files() -> None:
    load(["milepost.demo_jobs"])
    handler = REGISTRY.get("names")
    assert handler is not None
    assert set(handler.schema["properties"]) == {"files"}
    with Reporter.recording() as job:
        handler.call(handler.read({"files": 3}), job, CancelToken())  # type: ignore[arg-type] # it reports alike
    nodes = {node["nodeName"]: node["rowCount"] for node in job.state.snapshot()["nodes"]}
    assert nodes["Scan sources"] == 3
