"""Run submitted jobs anywhere, with NATS as the queue."""

from milepost_reporter.cancel import Cancelled, CancelToken

from milepost_runner.errors import (
    BadPayload,
    HasEnded,
    KeyTaken,
    NoSuchJob,
    QueueUnavailable,
    Refused,
    RunnerError,
    TooLarge,
    UnknownHandler,
)
from milepost_runner.handler import Handler
from milepost_runner.jobs import Jobs
from milepost_runner.progress import Progress
from milepost_runner.registry import Registry, job
from milepost_runner.runner import JobRunner
from milepost_runner.settings import RunnerSettings, WorkerSettings
from milepost_runner.store import Job, JobStore
from milepost_runner.worker import Worker

__all__ = [
    "BadPayload",
    "CancelToken",
    "Cancelled",
    "Handler",
    "HasEnded",
    "Job",
    "JobRunner",
    "JobStore",
    "Jobs",
    "KeyTaken",
    "NoSuchJob",
    "Progress",
    "QueueUnavailable",
    "Refused",
    "Registry",
    "RunnerError",
    "RunnerSettings",
    "TooLarge",
    "UnknownHandler",
    "Worker",
    "WorkerSettings",
    "job",
]
