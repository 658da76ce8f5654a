"""What Milepost set out to reach, and whether this run saw it. A missed aim does not fail the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.contestant import Contestant
from benchmarks.fan import Load
from benchmarks.results import Basis, Results

HUB, GATEWAY = Contestant.HUB, Contestant.GATEWAY


class Aim(NamedTuple):
    """One figure that was aimed at; `seen` is in the same words."""

    what: str
    aim: str
    seen: str
    met: bool


def aims(results: Results, scenarios: dict[str, Load]) -> Iterator[Aim]:
    """Every aim of which this run measured both sides."""
    for scenario, load in scenarios.items():
        if results.rounds(scenario, HUB, GATEWAY):
            yield from _against_the_gateway(results, scenario, load)
    for run in results.memory:
        if run.contestant is HUB:
            kilobytes = run.bytes_per_connection / 1000
            what = f"{run.clients:,} idle connections over {run.jobs:,} jobs"
            yield Aim(what, "<= 7 KB each", f"{kilobytes:.1f} KB", kilobytes <= 7)
    if len(results.idle_jobs) == 2:
        few, many = results.idle_jobs
        what = f"CPU µs an event, {few.idle_jobs:,} to {many.idle_jobs:,} idle jobs"
        seen = f"{few.event_us:.0f} to {many.event_us:.0f}"
        yield Aim(what, "flat (within 15 %)", seen, many.event_us < 1.15 * few.event_us)


def _against_the_gateway(results: Results, scenario: str, load: Load) -> Iterator[Aim]:
    if load.clients == load.jobs:
        yield _ratio(results, scenario, Basis.PROCESS, 1.2)
    elif load.rate >= 2_000:
        yield _ratio(results, scenario, Basis.PROCESS, 5)
        yield _latency(results, scenario, 1, "p99")
    else:
        yield _latency(results, scenario, 0, "p50")


def _ratio(results: Results, scenario: str, basis: Basis, least: float) -> Aim:
    ratio = results.ratio(scenario, GATEWAY, basis)
    what = f"{scenario}: deliveries/CPU s over the gateway's, {basis.value}"
    seen = "too little to tell" if math.isnan(ratio) else f"{ratio:.2f} times"
    return Aim(what, f">= {least:g} times", seen, ratio >= least)


def _latency(results: Results, scenario: str, number: int, name: str) -> Aim:
    hub, gateway = (results.median(scenario, one, lambda run: run.latency_ms[number]) for one in (HUB, GATEWAY))
    what = f"{scenario}: {name} against the gateway's"
    return Aim(what, f"<= {gateway:.1f} ms", f"{hub:.1f} ms", hub <= gateway)
