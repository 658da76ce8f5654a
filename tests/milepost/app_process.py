"""The example app under uvicorn, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import httpx

from tests.docs.block import ROOT
from tests.milepost.console import Running, ended, environment
from tests.waiting import eventually

APP: Final = "examples.fastapi_app:app"
ANN: Final = {"X-API-Key": "key-of-ann"}
"""Of the tenant acme."""
BOB: Final = {"X-API-Key": "key-of-bob"}
"""Of the tenant globex."""


class App(NamedTuple):
    """It, under way."""

    url: str
    process: Running
    client: httpx.Client

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def ask(
        self,
        method: str,
        path: str,
        who: Mapping[str, str] = ANN,
        body: Any = None,  # noqa: ANN401 - any JSON
    ) -> httpx.Response:
        """A request to its jobs."""
        return self.client.request(method, f"/progress/api/jobs{path}", headers=who, json=body)

    def submit(self, name: str, payload: Any, who: Mapping[str, str] = ANN) -> str:  # noqa: ANN401 - any JSON
        """The id of a job that was taken, once there is somebody to take it."""

        def taken() -> httpx.Response | None:
            answer = self.ask("POST", "", who, {"name": name, "payload": payload})
            # the queue is there, and a handler of this name known, a little after the start
            return None if answer.status_code in {404, 503} else answer

        answer = eventually(taken)
        assert answer is not None
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobId"])

    def listed(self, who: Mapping[str, str] = ANN) -> set[str]:
        """The jobs of the list."""
        return {str(job["jobId"]) for job in self.ask("GET", "", who).json()["jobs"]}

    def status(self, job: str, who: Mapping[str, str] = ANN) -> str | None:
        """How the job stands."""
        told: dict[str, Any] = self.ask("GET", f"/{job}", who).json().get("snapshot", {})
        return told.get("status")


@contextmanager
def app_running(nats_url: str, *arguments: str, **env: str) -> Iterator[App]:
    """On a free port, ready; ended with the block if it has not ended by itself."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "uvicorn", APP, "--port", "0", *arguments],
        cwd=ROOT,
        env=environment({"NATS_URL": nats_url, "MILEPOST_DRAIN_SECONDS": "0", **env}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with ended(process):
        running = Running(process)
        url = running.until("Uvicorn running on").partition(" on ")[2].split()[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
            app = App(url, running, client)
            eventually(lambda: app.ask("GET", "").is_success)  # NATS is reached, the job log there
            yield app
