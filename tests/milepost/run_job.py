"""A command run as a job by `milepost run`, and what a hub knows of it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from milepost_runner.descendants import end_tree

from milepost import hub_client
from milepost.errors import CommandError
from tests.milepost.conftest import Service
from tests.milepost.console import environment, script
from tests.waiting import eventually

ENDS = {"completed", "failed", "cancelled"}


class RunJob:
    """One job's id and environment, and its state at the hub."""

    def __init__(self, service: Service, nats_url: str, tenant: str | None = None) -> None:
        self.tenant = tenant or f"run-{uuid.uuid4().hex[:8]}"
        self.id = f"job-{uuid.uuid4().hex[:8]}"
        self._service = service
        self._token = service.token(self.tenant, scopes=["watch", "cancel"])
        self.env = {"NATS_URL": nats_url, "MILEPOST_TENANT": self.tenant, "MILEPOST_JOB": self.id}

    @contextmanager
    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        **more: Any,  # noqa: ANN401 - Popen's own
    ) -> Iterator[subprocess.Popen[bytes]]:
        """`milepost run` with these arguments, off any terminal; killed with all that came of it if still there."""
        pipe = subprocess.PIPE
        usual = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "start_new_session": True}
        # the console script is on the command's path, too: for a milepost run inside a milepost run
        path = f"{Path(script()).parent}{os.pathsep}{os.environ['PATH']}"
        given = environment({**self.env, "PATH": path, **(env or {})})
        with subprocess.Popen([script(), "run", *arguments], env=given, **{**usual, **more}) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    end_tree(process.pid)

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """To its end."""
        with self.start(*arguments, env=env) as process:
            out, err = process.communicate(timeout=seconds)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def ask(self, method: str = "GET") -> dict[str, Any]:
        """What the hub answers; {} while it has not heard of the job."""
        try:
            return hub_client.ask(method, self._service.url, f"/api/jobs/{self.id}", self._token)
        except CommandError:
            return {}

    def snapshot(self) -> dict[str, Any]:
        """The job's state at the hub; {} while it has not heard of it."""
        found: dict[str, Any] = self.ask().get("snapshot", {})
        return found

    def ended(self) -> dict[str, Any]:
        """The same, as soon as the job has ended."""
        return eventually(lambda: found if (found := self.snapshot()).get("status") in ENDS else None) or {}

    def said(self, line: str) -> bool:
        """Whether that is in its log."""
        return line in lines(self.snapshot())

    def cancel(self) -> None:
        """As the page's button does."""
        hub_client.ask("DELETE", self._service.url, f"/api/jobs/{self.id}", self._token)


def lines(snapshot: dict[str, Any]) -> list[str]:
    """The job's log."""
    return [event["message"] for event in snapshot.get("logTail", [])]


def nodes(snapshot: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The job's nodes by their names."""
    return {node["nodeName"]: node for node in snapshot["nodes"]}


def mark() -> str:
    """Seconds to sleep for, as nobody else does: to find who does."""
    return f"8{uuid.uuid4().int % 10**9:09d}"


def sleepers(seconds: str) -> list[psutil.Process]:
    """Who sleeps for so long."""
    return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", seconds]]


def python(program: str) -> list[str]:
    """A command that runs it."""
    return [sys.executable, "-c", program]
