"""python -m chaos: every scenario, a table of verdicts, and exit code 1 when anything is off."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console

from chaos.catalogue import SCENARIOS, told
from chaos.dice import new_seed
from chaos.run import run
from chaos.table import show
from chaos.verdict import Verdict

_WIDTH: Final = 140
"""Of what is printed where there is no terminal: the table fits."""


def main() -> int:
    """Run what was asked for; the exit code."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if arguments.list:
        for name, scenario in SCENARIOS.items():
            console.print(f"{name:22}{told(scenario)}", markup=False, highlight=False)
        return 0
    signal.signal(signal.SIGTERM, _leave)
    _allow_many_files()
    console.print(f"seed {arguments.seed}", highlight=False)
    verdicts = asyncio.run(_verdicts(arguments, console))
    show(verdicts, console)
    ok = all(verdict.ok for verdict in verdicts)
    if arguments.json is not None:
        told_as_json = {"seed": arguments.seed, "ok": ok, "scenarios": [verdict.as_json() for verdict in verdicts]}
        arguments.json.write_text(json.dumps(told_as_json, indent=2) + "\n", encoding="utf-8")
    if not ok:
        failed = " ".join(verdict.scenario for verdict in verdicts if not verdict.ok)
        again = f"python -m chaos --seed {arguments.seed}{' --quick' * arguments.quick} --only {failed}"
        console.print(f"again: {again}", markup=False, highlight=False)
    return 0 if ok else 1


async def _verdicts(arguments: argparse.Namespace, console: Console) -> list[Verdict]:
    names = arguments.only or list(SCENARIOS)
    verdicts: list[Verdict] = []
    with console.status("") as status:
        status.update(f"{len(names)} to go")
        async for verdict in run(names, arguments.seed, quick=arguments.quick, together=arguments.together):
            verdicts.append(verdict)
            word = "ok" if verdict.ok else "FAILED"
            console.print(f"{verdict.scenario:22}{word} after {verdict.seconds:.1f} s", highlight=False)
            status.update(f"{len(names) - len(verdicts)} to go")
    return sorted(verdicts, key=lambda verdict: names.index(verdict.scenario))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Milepost under faults, checking itself.")
    parser.add_argument("--seed", type=int, default=None, help="decide as the run that printed this seed")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), metavar="NAME", help="only these scenarios")
    parser.add_argument("--list", action="store_true", help="name the scenarios and what each does")
    parser.add_argument("--together", type=_count, default=1, metavar="N", help="so many scenarios side by side")
    parser.add_argument("--quick", action="store_true", help="smaller figures, as for every commit")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the verdicts as JSON, with what chance decided"
    )
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = new_seed()
    return arguments


def _count(text: str) -> int:
    """A number from 1. ValueError otherwise."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _allow_many_files() -> None:
    """As many open files as this user may have: thousands of clients live in this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)
