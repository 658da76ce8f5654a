"""What adopted bars cost a tight loop: plain tqdm and adopted tqdm, in turns, in one process.

    python -m benchmarks.tqdm_overhead [--rounds N]

A real nats-server with the streams a hub makes takes what the adopted ones report. Each round runs one loop of either
kind, the other one first each time; the ratio is taken within a round, and told as the median over rounds, with the
quartiles around it. Wall-clock time is what a loop feels; CPU time of its thread leaves out what else the machine does.
The third pair is plain tqdm against itself: what the machine makes of no difference.
"""

import argparse
import io
import logging
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from milepost_reporter import Reporter
from milepost_reporter.tqdm import adopt_tqdm
from tqdm import tqdm

from benchmarks.reporter_overhead import await_connection, nats

AIM = 1.05
"""Times plain tqdm's time that an adopted loop may take."""

ITERATIONS = 1_000_000
"""A loop of some tenths of a second: several of tqdm's refreshes."""


class Cost(NamedTuple):
    """Seconds of one loop."""

    wall: float
    cpu: float


class Terminal(io.StringIO):
    """Takes bars as a terminal does, so that both kinds are drawn alike."""

    def isatty(self) -> bool:
        return True


Loop = Callable[[], None]


def iterated() -> None:
    """Nothing but the bar's own work."""
    for _ in tqdm(range(ITERATIONS), file=Terminal()):
        pass


def by_hand() -> None:
    with tqdm(total=ITERATIONS, file=Terminal()) as bar:
        for _ in range(ITERATIONS):
            bar.update()


def cost(loop: Loop, adopted: Callable[[], AbstractContextManager[object]]) -> Cost:
    with adopted():
        wall, cpu = time.perf_counter(), time.thread_time()
        loop()
        return Cost(time.perf_counter() - wall, time.thread_time() - cpu)


def ratios(loop: Loop, adopted: Callable[[], AbstractContextManager[object]], rounds: int) -> list[Cost]:
    """Adopted over plain, of each round."""
    found = []
    for turn in range(rounds):
        if turn % 2:
            plain, ours = cost(loop, nullcontext), cost(loop, adopted)
        else:
            ours, plain = cost(loop, adopted), cost(loop, nullcontext)
        found.append(Cost(ours.wall / plain.wall, ours.cpu / plain.cpu))
    return found


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    logging.getLogger("milepost_reporter").setLevel(logging.ERROR)
    medians = []
    print("| loop | wall-clock, adopted / plain | CPU of its thread, adopted / plain |")
    print("|---|---|---|")
    with nats() as server, Reporter(nats_url=server.url, tenant="bench", job=1) as job:
        await_connection(job, connected=True)
        for words, loop in (("`for _ in tqdm(range(n))`", iterated), ("`bar.update()`", by_hand)):
            found = ratios(loop, lambda: adopt_tqdm(job), rounds)
            medians.append(statistics.median(ratio.cpu for ratio in found))
            row(words, found)
        row("plain against plain, `for`", ratios(iterated, nullcontext, rounds))
        events = job.stats.sent
    print(f"\n{rounds} rounds of {ITERATIONS:,} iterations, {events:,} events told")
    worst = max(medians)
    print(f"worst ratio {worst:.3f}, aim at most {AIM:g}: {'met' if worst <= AIM else 'MISSED'}")


def row(words: str, found: list[Cost]) -> None:
    print(f"| {words} | {spread([one.wall for one in found])} | {spread([one.cpu for one in found])} |")


if __name__ == "__main__":
    main()
