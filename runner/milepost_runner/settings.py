"""How to reach NATS, and every figure of queue and worker with its default."""

from __future__ import annotations

from typing import ClassVar, Literal

from milepost_reporter.jetstream.access import Access
from pydantic import Field


class RunnerSettings(Access):
    """The queue and the store. Everybody who shares them is to be given the same.

    Times are seconds, sizes are bytes. What cannot be used raises pydantic's ValidationError, which names it.
    """

    connection_name: ClassVar[str] = "milepost-runner"

    claim: float = Field(default=30.0, ge=1)
    """A job whose worker is silent for this long runs again elsewhere; workers are heard three times as often."""
    tenant_limit: int = Field(default=100, ge=1)
    """Jobs of one tenant that run at the same time, on all workers of a queue together."""
    payload_max_bytes: int = Field(default=65_536, ge=1, le=65_536)
    """The longest payload."""
    queue_max_bytes: int = Field(default=2**28, ge=0)
    """The most that waiting jobs may take on disk; beyond, none is taken. 0: no bound of its own."""
    store_max_age: float = Field(default=7 * 86_400.0, ge=3_600)
    """A job is remembered for this long after its last change."""
    store_max_bytes: int = Field(default=2**28, ge=0)
    """The most that the store may take on disk; beyond, the longest unchanged jobs go. 0: no bound of its own."""
    replicas: int = Field(default=1, ge=1, le=5)
    """Copies of each, on as many servers of a cluster; 3 survive the loss of one."""
    update: bool = False
    """Change streams that exist to these settings, where NATS allows that. Without, what differs is told."""


class WorkerSettings(RunnerSettings):
    """One worker. Times are seconds, sizes are bytes."""

    concurrency: int = Field(default=8, ge=1, le=10_000)
    """Jobs that run here at the same time."""
    executor: Literal["thread", "process", "async"] = "thread"
    """Where handlers run: in a thread each, in a process each, or in the worker's own event loop."""
    cancel_wait: float = Field(default=5.0, ge=0)
    """A job that was told to stop has this long; then it is ended, or written off where it cannot be."""
    drain: float = Field(default=25.0, ge=0)
    """On SIGTERM, running jobs may go on for this long; what is left goes back to the queue."""
    result_max_bytes: int = Field(default=49_152, ge=16, le=49_152)
    """The longest result, as JSON; a job that returns more has failed."""
    record_interval: float = Field(default=2.0, gt=0)
    """A running job's progress is put into the store at most this often."""
    poll: float = Field(default=30.0, ge=1)
    """How long one question for work waits at NATS."""
    look: float = Field(default=10.0, gt=0)
    """How often to look for queues of new tenants that nobody has told of."""
    announce: float = Field(default=3_600.0, gt=0)
    """How often the catalog is told again which handlers there are."""
