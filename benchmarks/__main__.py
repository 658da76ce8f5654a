"""python -m benchmarks [--quick]: every benchmark, the tables, and exit code 1 when anything went wrong."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console

from benchmarks.bench import SERVERS, Bench
from benchmarks.native_build import NoCompilerError, program
from benchmarks.plan import FULL, QUICK
from benchmarks.table import show

RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Run what was asked for; the exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _leave)
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        for name in ("load_client", "publisher"):
            program(name)
    except (NoCompilerError, subprocess.CalledProcessError) as error:
        console.print(f"cannot build the load client: {error}", style="bold red", markup=False)
        return 1
    plan = QUICK if arguments.quick else FULL
    if arguments.scenario:
        plan = plan.only(arguments.scenario)
    servers = tuple(each for each in SERVERS if not arguments.only or each.name.lower() in arguments.only)
    results = Bench(plan, console, servers, patient=arguments.patient).run()
    show(results, plan.fan, console)
    console.print(f"all figures: {results.save(RESULTS, plan)}")
    for failure in results.failures:
        console.print(f"FAILED {failure}", style="bold red", markup=False)
    if results.failures:
        return 1
    return 0 if arguments.scenario or _reporter_overhead(quick=arguments.quick) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Milepost against others.")
    parser.add_argument("--quick", action="store_true", help="one short round, smaller figures")
    parser.add_argument(
        "--patient",
        action="store_true",
        help="wait for other work on this machine, and measure again what it disturbed",
    )
    parser.add_argument("--scenario", metavar="NAME", help="this fan-out alone, by the name it has in the tables")
    names = [each.name.lower() for each in SERVERS]
    parser.add_argument("--only", action="append", choices=names, help="only this server (repeatable)")
    return parser.parse_args()


def _reporter_overhead(*, quick: bool) -> bool:
    """The reporter's own benchmark, in a process of its own: whether it went well."""
    command = [sys.executable, "-m", "benchmarks.reporter_overhead", *(["--quick"] if quick else [])]
    return subprocess.run(command, check=False).returncode == 0


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)
