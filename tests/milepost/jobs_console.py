"""A service and a worker under way, with jobs submitted to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from tests.milepost.conftest import Service
from tests.milepost.console import Running, milepost, running

HANDLERS = "tests.milepost.handlers"


@contextmanager
def working(nats_url: str, *arguments: str, modules: tuple[str, ...] = (HANDLERS,)) -> Iterator[Running]:
    """`milepost worker`, ready."""
    with running("worker", *modules, *arguments, env={"NATS_URL": nats_url}) as process:
        process.until("Milepost runs jobs")
        yield process


class Client(NamedTuple):
    """A tenant's own command line and HTTP client."""

    service: Service
    tenant: str
    scopes: tuple[str, ...] = ("watch", "submit", "cancel")

    @property
    def environment(self) -> dict[str, str]:
        """For commands."""
        token = self.service.token(self.tenant, scopes=list(self.scopes))
        return {"MILEPOST_URL": self.service.url, "MILEPOST_TOKEN": token}

    def submit(self, name: str, payload: str = "{}", *more: str) -> str:
        """The id of a job that was taken."""
        ended = milepost("submit", name, payload, *more, env=self.environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:  # noqa: ANN401 - any JSON
        """A request to the hub's jobs."""
        headers = {"Authorization": f"Bearer {self.environment['MILEPOST_TOKEN']}"}
        url = f"{self.service.url}/api/jobs{path}"
        return httpx.request(method, url, json=body, headers=headers, trust_env=False, timeout=20)

    def snapshot(self, job: str) -> dict[str, Any]:
        """What the job amounts to by now; empty when nobody has heard of it."""
        told: dict[str, Any] = self.ask("GET", f"/{job}").json().get("snapshot", {})
        return told

    def status(self, job: str) -> str | None:
        """How the job stands."""
        return self.snapshot(job).get("status")
