"""The verdicts as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from chaos.verdict import Verdict

_COLUMNS = ("published", "late", "readers", "delivered", "lost", "duplicated", "out of order")


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """One row a scenario; below it whatever is off, and figures worth telling."""
    table = Table(title="Ends per run are those that WebSocket / SSE / HTTP readers were told")
    table.add_column("scenario", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    table.add_column("ends per run", justify="center", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("verdict", no_wrap=True)
    for verdict in verdicts:
        table.add_row(*_cells(verdict))
    console.print(table)
    for verdict in verdicts:
        for note in verdict.notes:
            console.print(f"{verdict.scenario}: {note}", markup=False, highlight=False)
    for verdict in verdicts:
        problems = verdict.problems
        for problem in problems[:_MOST]:
            console.print(f"{verdict.scenario}: {problem}", style="red", markup=False, highlight=False)
        if len(problems) > _MOST:
            console.print(f"{verdict.scenario}: and {len(problems) - _MOST} more", style="red", markup=False)


_MOST = 12
"""Problems of one scenario shown; the JSON has them all."""


def _cells(verdict: Verdict) -> list[str]:
    counts = (
        verdict.published,
        verdict.late,
        verdict.readers,
        verdict.delivered,
        verdict.lost,
        verdict.duplicated,
        verdict.disordered,
    )
    word = "[green]ok[/]" if verdict.ok else "[bold red]FAILED[/]"
    told = [f"{count:,}" for count in counts]
    return [verdict.scenario, *told, verdict.ends_told(), f"{verdict.seconds:.1f}", word]
