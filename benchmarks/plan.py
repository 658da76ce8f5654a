"""How much is measured: the whole of it, or one short round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from benchmarks.fan import Load

Scenarios = dict[str, Load]


@dataclass(frozen=True)
class Plan:
    """What one run of the benchmarks does.

    Attributes:
        rounds: times every fan-out measurement is made, the servers taking turns.
        fan: fan-out scenarios by name.
        memory: idle connections, and over how many jobs they are spread, for each look at memory.
        connect_seconds: length of each count of connections a second.
        idle_jobs: how many idle jobs stand beside the busy one, in each of two measurements.
        idle_window: seconds of each of those.
    """

    rounds: int
    fan: Scenarios
    memory: tuple[tuple[int, int], ...]
    connect_rounds: int
    connect_seconds: float
    idle_jobs: tuple[int, ...]
    idle_rate: int
    idle_window: float

    def only(self, scenario: str) -> Plan:
        """One fan-out scenario and nothing else; SystemExit with the names there are when it is none of them."""
        if scenario not in self.fan:
            raise SystemExit(f"no scenario {scenario!r}: there are {', '.join(map(repr, self.fan))}")
        alone = {scenario: self.fan[scenario]}
        return replace(self, fan=alone, memory=(), connect_rounds=0, idle_jobs=())


def _one_job(rate: int, warm_up: float, window: float) -> Load:
    return Load(clients=500, jobs=1, rate=rate, warm_up=warm_up, window=window)


FULL: Final = Plan(
    rounds=3,
    fan={
        "500 clients, 200/s": _one_job(200, 1, 3),
        "500 clients, 2,000/s": _one_job(2_000, 1, 3),
        "500 clients, 4,000/s": _one_job(4_000, 1, 3),
        "5,000 jobs, 10,000/s": Load(clients=5_000, jobs=5_000, rate=10_000, warm_up=1, window=3),
    },
    memory=((5_000, 10), (5_000, 5_000)),
    connect_rounds=2,
    connect_seconds=3,
    idle_jobs=(10, 5_000),
    idle_rate=2_000,
    idle_window=3,
)

QUICK: Final = Plan(
    rounds=1,
    fan={
        "500 clients, 200/s": _one_job(200, 0.5, 1),
        "500 clients, 2,000/s": _one_job(2_000, 0.5, 1),
        "1,000 jobs, 4,000/s": Load(clients=1_000, jobs=1_000, rate=4_000, warm_up=0.5, window=1),
    },
    memory=((1_000, 10),),
    connect_rounds=1,
    connect_seconds=1,
    idle_jobs=(10, 1_000),
    idle_rate=2_000,
    idle_window=1,
)
