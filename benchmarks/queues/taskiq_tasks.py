"""The no-op job under taskiq-nats."""

import os

from taskiq import AsyncBroker
from taskiq_nats import NATSObjectStoreResultBackend, PullBasedJetStreamBroker

from benchmarks.queues.starts import note

URL = "MILEPOST_BENCH_NATS"
RESULTS = "MILEPOST_BENCH_RESULTS"


def make_broker(url: str, *, results: bool) -> AsyncBroker:
    made = PullBasedJetStreamBroker(url)
    if not results:
        return made
    return made.with_result_backend(NATSObjectStoreResultBackend(servers=url))


broker = make_broker(os.environ.get(URL, "nats://127.0.0.1:4222"), results=bool(os.environ.get(RESULTS)))


@broker.task(task_name="noop")
async def noop(number: int) -> None:
    note(number)
