"""What reporting costs a Celery worker: `python -m benchmarks.celery_cost`. Needs redis-server.

One prefork worker of one process runs tasks that do nothing, one without `report_tasks` and one with it in turns:
the worker's and its child's CPU time for each task, and the memory of both before and after.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from celery import Celery, group

from benchmarks.ports import free_port
from benchmarks.queues.worker_process import WorkerProcess
from benchmarks.usage import cpu_seconds, pss_bytes
from milepost.nats_server import NatsServer
from tests.reporter.job_log import LOG, ask, make_streams

URL = "MILEPOST_BENCH_REDIS"
REPORT = "MILEPOST_BENCH_REPORT"

app = Celery("cost", broker=os.environ.get(URL), backend=os.environ.get(URL))
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


@app.task(name="noop")  # type: ignore[untyped-decorator] # Celery has no types
def noop(number: int) -> int:
    return number


if os.environ.get(REPORT):
    from milepost_reporter.celery import report_tasks

    report_tasks(app)


def measured(url: str, nats: NatsServer, tasks: int, *, reports: bool) -> tuple[float, float, float]:
    """Microseconds of CPU a task, and MiB of the worker after a tenth of the tasks and after all."""
    environ = {URL: url, "NATS_URL": nats.url, "MILEPOST_TENANT": "acme", REPORT: "1" if reports else ""}
    command = ["celery", "--app", "benchmarks.celery_cost", "worker", "--concurrency", "1", "--loglevel", "ERROR"]
    worker = WorkerProcess([*command, "--without-gossip", "--without-mingle"], environ)
    pid = worker._process.pid
    try:
        _run(url, tasks // 10)
        cpu, memory = cpu_seconds(pid), pss_bytes(pid)
        _run(url, tasks)
        return (cpu_seconds(pid) - cpu) / tasks * 1e6, memory / 2**20, pss_bytes(pid) / 2**20
    finally:
        worker.end()


def _run(url: str, tasks: int) -> None:
    caller = Celery("caller", broker=url, backend=url)
    result = group(caller.signature("noop", (number,)) for number in range(tasks)).apply_async()
    result.get(timeout=600)
    result.forget()
    caller.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    program = shutil.which("redis-server")
    if program is None:
        parser.error("redis-server is not installed (Debian's package redis-server)")
    with ExitStack() as stack:
        nats = stack.enter_context(NatsServer())
        make_streams(nats.url)
        folder, port = stack.enter_context(tempfile.TemporaryDirectory()), free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(Path(folder)), "--save", ""]
        redis = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        stack.callback(redis.wait)
        stack.callback(redis.terminate)
        url = f"redis://127.0.0.1:{port}/0"
        found: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
        for _ in range(asked.rounds):
            for reports in (False, True):
                found[reports].append(measured(url, nats, asked.tasks, reports=reports))
        print("| worker | CPU a task, µs | MiB after a tenth | MiB at the end |\n|---|---|---|---|")
        for reports, name in ((False, "without"), (True, "with `report_tasks`")):
            cpu, before, after = (median(column) for column in zip(*found[reports], strict=True))
            print(f"| {name} | {cpu:,.0f} | {before:.1f} | {after:.1f} |")
        events = ask(nats.url, f"$JS.API.STREAM.INFO.{LOG}")["state"]["messages"]
        print(f"\n{events:,} events of {asked.rounds * (asked.tasks + asked.tasks // 10):,} tasks stored")


if __name__ == "__main__":
    main()
