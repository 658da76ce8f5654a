"""The order of the measurements, and what is told while they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console

from benchmarks import connects, fan, idle_jobs, memory
from benchmarks.child import ChildFailedError
from benchmarks.contestant import Contestant
from benchmarks.fan import FanRun, Load, WrongDeliveryError
from benchmarks.plan import Plan
from benchmarks.results import FanRound, Results
from benchmarks.usage import wait_for_quiet
from milepost.nats_server import NatsServerError

SERVERS: Final = (Contestant.HUB, Contestant.LIVE, Contestant.GATEWAY, Contestant.BROADCAST, Contestant.FASTAPI)

_PATIENCE: Final = 60.0

Step = tuple[str, Callable[[], str]]


class Bench:
    """Runs a plan step by step; a step that fails is told and the others go on."""

    def __init__(
        self, plan: Plan, console: Console, servers: tuple[Contestant, ...] = SERVERS, *, patient: bool = False
    ) -> None:
        """If `patient`, wait for other work on the machine to end, and measure again what it disturbed."""
        self.results = Results()
        self._plan = plan
        self._console = console
        self._servers = servers
        self._attempts = 6 if patient else 1

    def run(self) -> Results:
        """All of it."""
        steps = list(self._steps())
        start = time.monotonic()
        for number, (name, step) in enumerate(steps, 1):
            self._console.print(f"[dim]{number:3}/{len(steps)} {time.monotonic() - start:4.0f} s[/] {name} … ", end="")
            try:
                self._console.print(step())
            except (WrongDeliveryError, ChildFailedError, NatsServerError) as error:
                self.results.failures.append(f"{name}: {error}")
                self._console.print(f"FAILED: {error}", style="bold red", markup=False)
        return self.results

    def _steps(self) -> Iterator[Step]:
        for number in range(self._plan.rounds):
            for scenario, load in self._plan.fan.items():
                yield from self._fan_round(number, scenario, load)
        for clients, jobs in self._plan.memory:
            for contestant in self._servers:
                yield self._memory(contestant, clients, jobs)
        for number in range(self._plan.connect_rounds):
            for contestant in self._turns(number):
                yield self._connects(contestant)
        if Contestant.HUB in self._servers:
            yield from map(self._idle_jobs, self._plan.idle_jobs)

    def _turns(self, number: int) -> tuple[Contestant, ...]:
        """The servers, another one first in each round."""
        first = number % len(self._servers)
        return self._servers[first:] + self._servers[:first]

    def _fan_round(self, number: int, scenario: str, load: Load) -> Iterator[Step]:
        this_round = FanRound(clients_per_event=load.clients // load.jobs)

        def plain() -> str:
            this_round.plain = fan.measure_plain(load)
            self.results.fan[scenario].append(this_round)
            return f"nats-server {this_round.plain:.3f} cores"

        yield f"round {number + 1}, {scenario}, {Contestant.PLAIN.value}", plain
        for contestant in self._turns(number):
            yield (
                f"round {number + 1}, {scenario}, {contestant.value}",
                self._fan(this_round, contestant, load),
            )

    def _fan(self, this_round: FanRound, contestant: Contestant, load: Load) -> Callable[[], str]:
        def step() -> str:
            run = this_round.runs[contestant] = self._undisturbed(contestant, load)
            if run.trouble:
                return f"cannot keep up: {run.trouble}"
            text = f"{run.delivered:,.0f}/s on {run.cpu:.2f} cores"
            if not run.kept_up:
                return f"{text}; cannot keep up: {load.offered:,.0f}/s offered"
            return f"{text}, p50 {run.latency_ms[0]:.1f} ms, p99 {run.latency_ms[1]:.1f} ms"

        return step

    def _undisturbed(self, contestant: Contestant, load: Load) -> FanRun:
        for _ in range(self._attempts):
            if self._attempts > 1:
                wait_for_quiet(fan.DISTURBED, _PATIENCE)
            run = fan.measure(contestant, load)
            if run.quiet:
                break
            self._console.print(f"[dim]({run.elsewhere:.2f} cores in use elsewhere)[/] ", end="")
        return run

    def _memory(self, contestant: Contestant, clients: int, jobs: int) -> Step:
        def step() -> str:
            run = memory.measure(contestant, clients, jobs)
            self.results.memory.append(run)
            return f"{run.bytes_per_connection / 1000:.1f} KB each"

        return f"memory, {clients:,} connections over {jobs:,} jobs, {contestant.value}", step

    def _connects(self, contestant: Contestant) -> Step:
        def step() -> str:
            run = connects.measure(contestant, self._plan.connect_seconds)
            self.results.connects.append(run)
            return f"{run.per_second:,.0f}/s, {run.cpu_us:,.0f} CPU µs each"

        return f"connections a second, {contestant.value}", step

    def _idle_jobs(self, count: int) -> Step:
        def step() -> str:
            run = idle_jobs.measure(Contestant.HUB, count, self._plan.idle_rate, self._plan.idle_window)
            self.results.idle_jobs.append(run)
            return f"{run.event_us:.1f} CPU µs an event"

        return f"{count:,} idle jobs, {Contestant.HUB.value}", step
