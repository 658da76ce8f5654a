"""The results as tables on the terminal."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.aims import aims
from benchmarks.contestant import Contestant
from benchmarks.fan import FanRun
from benchmarks.plan import Scenarios
from benchmarks.results import Basis, Results


def show(results: Results, scenarios: Scenarios, console: Console) -> None:
    """Print everything that was measured."""
    tables = [_fan_table(results, scenario) for scenario in results.fan]
    tables += [_memory_table(results), _connect_table(results), _idle_jobs_table(results)]
    for table in [*tables, _aims_table(results, scenarios)]:
        if table.row_count:
            console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _fan_table(results: Results, scenario: str) -> Table:
    table = _table(
        f"{scenario}, medians",
        "server",
        "rounds",
        "per s",
        "cores",
        "per\nCPU s",
        "p50\nms",
        "p99\nms",
        "keeps\nup",
        "nats\ncores",
        "client\ncores",
        "else-\nwhere",
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
    def middle(figure: Callable[[FanRun], float], digits: int) -> str:
        return f"{results.median(scenario, contestant, figure):,.{digits}f}"

    rounds = results.rounds(scenario, contestant)
    kept_up = sum(each.runs[contestant].kept_up for each in rounds)
    return [
        contestant.value,
        f"{len(rounds)}",
        middle(lambda run: run.delivered, 0),
        middle(lambda run: run.cpu, 2),
        middle(lambda run: run.delivered / run.cpu, 0),
        middle(lambda run: run.latency_ms[0], 1),
        middle(lambda run: run.latency_ms[1], 1),
        "yes" if kept_up == len(rounds) else f"{kept_up} of {len(rounds)}",
        middle(lambda run: run.nats_cpu, 2),
        middle(lambda run: run.client_cpu, 2),
        middle(lambda run: run.elsewhere, 2),
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
    table = _table("One busy job beside idle ones", "server", "idle jobs", "CPU µs an event", "background cores")
    for run in results.idle_jobs:
        cells = (f"{run.idle_jobs:,}", f"{run.event_us:.1f}", f"{run.background:.3f}")
        table.add_row(run.contestant.value, *cells)
    return table


def _aims_table(results: Results, scenarios: Scenarios) -> Table:
    table = _table("What was aimed at", "figure", "aim", "seen", "")
    for aim in aims(results, scenarios):
        table.add_row(aim.what, aim.aim, aim.seen, "met" if aim.met else "[bold red]missed")
    return table
