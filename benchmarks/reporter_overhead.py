"""What reporting costs the job: `node.advance(1)` against tqdm's `update(1)`, and one `report()`.

    python -m benchmarks.reporter_overhead [--quick]
    python -m benchmarks.reporter_overhead --cluster

The second tells how many events a second a cluster of three confirms, one at a time, and one server, many at a time.

Rounds of both take turns in one process, so that both meet the same machine; the ratio is the median of the
rounds' ratios. NATS has the streams a hub makes; it is up, absent, stopped (SIGSTOP) and killed halfway through.
"""

import argparse
import asyncio
import io
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import ensure
from milepost_reporter import Reporter
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from tqdm import tqdm

from milepost.nats_server import NatsServer
from tests.reporter.cluster import Cluster

AIM = 2.0
"""Times tqdm's cost that an advance may be."""


class Row(NamedTuple):
    situation: str
    advance_ns: float
    tqdm_ns: float
    ratio: float
    report_p50_us: float
    report_p99_us: float
    report_max_us: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--cluster", action="store_true", help="events a second confirmed by a cluster")
    arguments = parser.parse_args()
    rounds = 10 if arguments.quick else 40
    logging.getLogger("milepost_reporter").setLevel(logging.ERROR)
    if arguments.cluster:
        in_cluster()
        return
    rows = [up(rounds), absent(rounds), stopped(rounds), killed(rounds)]
    print("| NATS | advance(1), ns | tqdm update(1), ns | ratio | report() p50, µs | p99, µs | max, µs |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.situation} | {row.advance_ns:.0f} | {row.tqdm_ns:.0f} | {row.ratio:.2f}"
            f" | {row.report_p50_us:.1f} | {row.report_p99_us:.1f} | {row.report_max_us:.0f} |"
        )
    worst = max(row.ratio for row in rows)
    print(f"\nworst ratio {worst:.2f}, aim at most {AIM:g}: {'met' if worst <= AIM else 'MISSED'}")


@contextmanager
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        asyncio.run(make_streams(server.url))
        yield server


async def make_streams(url: str) -> None:
    settings = BridgeSettings()
    changed = asyncio.Event()
    api = Api([url], settings, changed.set, Complaints(logging.getLogger(__name__)))
    api.start()
    try:
        await asyncio.wait_for(changed.wait(), 10)
        await ensure(api, settings)
    finally:
        await api.close()


def up(rounds: int) -> Row:
    with nats() as server:
        return measured("up", server.url, rounds, connected=True)


def absent(rounds: int) -> Row:
    return measured("absent", "nats://127.0.0.1:1", rounds, connected=False)


def stopped(rounds: int) -> Row:
    with nats() as server:
        try:
            return measured("stopped", server.url, rounds, connected=True, before=server.pause)
        finally:
            server.resume()


def killed(rounds: int) -> Row:
    with nats() as server:
        return measured("killed midway", server.url, rounds, connected=True, midway=server.kill)


def nothing() -> None:
    return


def measured(
    situation: str,
    url: str,
    rounds: int,
    *,
    connected: bool,
    before: Callable[[], None] = nothing,
    midway: Callable[[], None] = nothing,
) -> Row:
    job = Reporter(nats_url=url, tenant="bench", job=1)
    node = job.node(1, "Load", total=10**9)
    bar = tqdm(total=10**9, file=io.StringIO())
    await_connection(job, connected)
    before()
    pairs = []
    for turn in range(rounds):
        if turn == rounds // 2:
            midway()
        pairs.append((per_call(node.advance), per_call(bar.update)))
    reports = report_times(job, rounds * 2_000)
    job.close(timeout=0.2)
    bar.close()
    reports.sort()
    return Row(
        situation,
        statistics.median(ours for ours, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(ours / theirs for ours, theirs in pairs),
        reports[len(reports) // 2] / 1_000,
        reports[len(reports) * 99 // 100] / 1_000,
        reports[-1] / 1_000,
    )


def in_cluster() -> None:
    with nats() as server:
        print(f"one server: {confirmed_a_second(server.url):,.0f} events/s")
    with Cluster() as cluster:
        leader = cluster.leader()
        other = next(name for name in cluster.servers if name != leader)
        for words, name in (("through the leader", leader), ("through another server", other)):
            print(f"cluster of three, {words}: {confirmed_a_second(cluster.servers[name].url, name):,.0f} events/s")


def confirmed_a_second(url: str, job: str = "1", events: int = 5_000) -> float:
    with Reporter(nats_url=url, tenant="bench", job=job) as reporter:
        await_connection(reporter, connected=True)
        begun = time.perf_counter()
        for number in range(events):
            reporter.log(f"line {number}")
        while reporter.stats.confirmed < events:
            time.sleep(0.001)
        return events / (time.perf_counter() - begun)


def await_connection(job: Reporter, connected: bool) -> None:
    deadline = time.monotonic() + 10
    while connected and not job.stats.confirmed:
        assert time.monotonic() < deadline, "no connection"
        time.sleep(0.01)


def per_call(call: Callable[[int], object], calls: int = 200_000) -> float:
    """Nanoseconds."""
    begun = time.perf_counter_ns()
    for _ in range(calls):
        call(1)
    return (time.perf_counter_ns() - begun) / calls


def report_times(job: Reporter, calls: int) -> list[int]:
    """Nanoseconds of each call."""
    times = []
    clock = time.perf_counter_ns
    for number in range(calls):
        share = number / calls
        begun = clock()
        job.report(share, "working")
        times.append(clock() - begun)
    return times


if __name__ == "__main__":
    main()
