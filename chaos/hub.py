"""`milepost serve` as a process of its own, on a port that it keeps over its lives."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx
from milepost_hub.token import issue

from chaos.http_client import http_client
from chaos.leaks import Footprint, footprint
from chaos.port import free_port
from chaos.process import Process
from chaos.waiting import until_async

SECRET: Final = "the chaos run's own secret, long enough for HS256"

_QUICK: Final = {
    "MILEPOST_DRAIN_SECONDS": "0",
    "MILEPOST_WRITE_WAIT": "5",
    "MILEPOST_BRIDGE_RECONNECT_WAIT": "0.05",
    "MILEPOST_BRIDGE_RECONNECT_WAIT_MAX": "0.5",
    "MILEPOST_BRIDGE_PING_INTERVAL": "1",
    "MILEPOST_BRIDGE_LINGER": "0.2",
    "MILEPOST_LOG_LEVEL": "info",
    "MILEPOST_LOG_FORMAT": "text",
}
_SERVE: Final = ["-c", "from milepost.cli import main; main()", "serve"]


class HubProcess:
    """A hub's process. `settings` are more environment variables, without their `MILEPOST_`."""

    def __init__(
        self, name: str, nats_url: str, log: Path, *, clock_skew: float | None = None, **settings: object
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {
            "NATS_URL": nats_url,
            "MILEPOST_PORT": str(self.port),
            "MILEPOST_JWT_SECRET": SECRET,
            **_QUICK,
            **{f"MILEPOST_{key.upper()}": str(value) for key, value in settings.items()},
        }
        command = _SERVE if clock_skew is None else ["-m", "chaos.skewed_clock", str(clock_skew), "serve"]
        self.process = Process(name, command, environment, log)

    @property
    def name(self) -> str:
        """What it is called in verdicts."""
        return self.process.name

    async def start(self, *, durable: bool = True) -> None:
        """Start it; it is ready, with a log unless told otherwise, when this returns."""
        await self.process.start()
        await self.process.line()
        await self.ready(durable=durable)

    async def ready(self, *, durable: bool = True, seconds: float = 30.0) -> None:
        """Return when it is ready with the log; or, not `durable`, when it is up and says that it has none."""

        async def is_ready() -> bool:
            try:
                answer = await self._get("/readyz")
            except httpx.HTTPError:
                return False
            told = answer.json()
            # a hub that has no log although it should have one is up, and says that it is not ready
            status = httpx.codes.OK if durable else httpx.codes.SERVICE_UNAVAILABLE
            return bool((answer.status_code, told["upstream"], told["durable"]) == (status, "up", durable))

        await until_async(is_ready, f"{self.name} ready (its log ends: {self.process.log_tail()[-300:]})", seconds)

    async def kill(self) -> None:
        """SIGKILL."""
        await self.process.kill()

    async def stop(self) -> int | None:
        """SIGTERM and its exit status; None when it did not end by itself."""
        return await self.process.stop()

    async def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`, by name and labels as they are written there."""
        samples = {}
        for line in (await self._get("/metrics")).text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def footprint(self) -> Footprint:
        """What it holds of the machine."""
        return footprint(self.process.pid)

    def token(self, tenant: str, seconds: float = 86_400.0) -> str:
        """A token that it believes, for a day."""
        return issue(SECRET, tenant, ttl=seconds)

    async def _get(self, path: str) -> httpx.Response:
        async with http_client(self.url, timeout=5) as http:
            return await http.get(path)
