"""The results as tables on the terminal."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import Contestant
from benchmarks.results import Basis, FanRound, Results


def show(results: Results, console: Console) -> None:
    """Print everything that was measured."""
    for scenario in results.fan:
        console.print(_fan_table(results, scenario))
    console.print(_memory_table(results))
    console.print(_connect_table(results))
    console.print(_idle_jobs_table(results))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _fan_table(results: Results, scenario: str) -> Table:
    table = _table(
        f"{scenario} (medians of {len(results.fan[scenario])} rounds)",
        "server",
        "per s",
        "cores",
        "per\nCPU s",
        "p50\nms",
        "p99\nms",
        "keeps\nup",
        "nats\ncores",
        "client\ncores",
        *(f"ratio,\n{basis.value}" for basis in Basis),
    )
    seen = {name: None for each in results.fan[scenario] for name in each.runs}
    for contestant in seen:
        if results.rounds(scenario, contestant):
            table.add_row(*_fan_row(results, scenario, contestant))
        else:
            table.add_row(contestant.value, "failed")
    return table


def _fan_row(results: Results, scenario: str, contestant: Contestant) -> list[str]:
    def middle(figure: str) -> float:
        return results.median(scenario, contestant, lambda each: getattr(each.runs[contestant], figure))

    def latency(number: int) -> float:
        return results.median(scenario, contestant, lambda each: each.runs[contestant].latency_ms[number])

    def per_cpu_second(each: FanRound) -> float:
        return each.per_cpu_second(contestant, Basis.PROCESS)

    rounds = results.rounds(scenario, contestant)
    kept_up = sum(each.runs[contestant].kept_up for each in rounds)
    return [
        contestant.value,
        f"{middle('delivered'):,.0f}",
        f"{middle('cpu'):.2f}",
        f"{results.median(scenario, contestant, per_cpu_second):,.0f}",
        f"{latency(0):.1f}",
        f"{latency(1):.1f}",
        "yes" if kept_up == len(rounds) else f"{kept_up} of {len(rounds)}",
        f"{middle('nats_cpu'):.2f}",
        f"{middle('client_cpu'):.2f}",
        *(_ratio(results, scenario, contestant, basis) for basis in Basis),
    ]


def _ratio(results: Results, scenario: str, contestant: Contestant, basis: Basis) -> str:
    """How many times the deliveries per CPU second of this server milepost makes."""
    ratio = math.nan if contestant is Contestant.HUB else results.ratio(scenario, contestant, basis)
    return "" if math.isnan(ratio) else f"{ratio:.2f}"


def _memory_table(results: Results) -> Table:
    table = _table("Memory of an idle connection", "server", "connections", "over jobs", "KB each")
    for run in results.memory:
        cells = (f"{run.clients:,}", f"{run.jobs:,}", f"{run.bytes_per_connection / 1000:.1f}")
        table.add_row(run.contestant.value, *cells)
    return table


def _connect_table(results: Results) -> Table:
    table = _table(
        "Open, check the JWT, subscribe, close", "server", "connections/s", "CPU µs each", "p50 ms", "p99 ms"
    )
    runs = defaultdict(list)
    for run in results.connects:
        runs[run.contestant].append(run)
    for contestant, several in runs.items():
        table.add_row(
            contestant.value,
            f"{median(run.per_second for run in several):,.0f}",
            f"{median(run.cpu_us for run in several):,.0f}",
            f"{median(run.p50_ms for run in several):.1f}",
            f"{median(run.p99_ms for run in several):.1f}",
        )
    return table


def _idle_jobs_table(results: Results) -> Table:
    table = _table(
        "One busy job beside idle ones", "server", "idle jobs", "CPU µs an event", "background cores"
    )
    for run in results.idle_jobs:
        cells = (f"{run.idle_jobs:,}", f"{run.event_us:.1f}", f"{run.background:.3f}")
        table.add_row(run.contestant.value, *cells)
    return table
