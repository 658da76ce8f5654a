"""Names of what the runner keeps in NATS: subjects of work, records and the catalog, and consumers.

| subject | carries |
|---|---|
| `tenant.<TID>.work.<queue>.<JID>` | one job that waits or runs, until it has ended |
| `$KV.MILEPOST_JOBS.<TID>.<JID>` | its record |
| `$KV.MILEPOST_HANDLERS.all.<name>` | a handler that works for all tenants |
| `$KV.MILEPOST_HANDLERS.tenant.<TID>.<name>` | one that works for one |
"""

from __future__ import annotations

from typing import Final, NamedTuple

from milepost_reporter.names import check_job, check_tenant

from milepost_runner.handler import check_name

WORK: Final = "MILEPOST_WORK"
JOBS: Final = "MILEPOST_JOBS"
HANDLERS: Final = "MILEPOST_HANDLERS"

WORK_SUBJECTS: Final = "tenant.*.work.*.*"

_WORK_WORDS: Final = 5
_AT: Final = "@"


class Place(NamedTuple):
    """Whose job, and in which queue it waits."""

    tenant: str
    queue: str
    job: str


class QueueName(NamedTuple):
    """One tenant's queue, and so one consumer."""

    tenant: str
    queue: str


def bucket_stream(bucket: str) -> str:
    """The stream behind a key-value bucket."""
    return f"KV_{bucket}"


def work(tenant: str, queue: str, job: str) -> str:
    """Where a job waits. `queue` and `job` may be `*` in a filter."""
    return f"tenant.{tenant}.work.{queue}.{job}"


def record(tenant: str, job: str) -> str:
    """A job's record. `job` may be `*` in a filter."""
    return f"$KV.{JOBS}.{tenant}.{job}"


def handler(name: str, tenant: str | None) -> str:
    """What the catalog says of a handler that works for all tenants, or for one."""
    return f"$KV.{HANDLERS}.all.{name}" if tenant is None else f"$KV.{HANDLERS}.tenant.{tenant}.{name}"


def consumer(queue: QueueName) -> str:
    """The consumer of one tenant's queue. No name of either holds the sign between them."""
    return f"{queue.tenant}{_AT}{queue.queue}"


def parse_consumer(name: str) -> QueueName | None:
    """Whose it is; None when it is none of ours."""
    tenant, at, queue = name.partition(_AT)
    try:
        return QueueName(check_tenant(tenant), check_name("queue", queue)) if at else None
    except ValueError:
        return None


def parse_work(subject: str) -> Place | None:
    """Whose job waits there; None when it is none of ours."""
    words = subject.split(".")
    if len(words) != _WORK_WORDS or words[0] != "tenant" or words[2] != "work":
        return None
    try:
        return Place(check_tenant(words[1]), check_name("queue", words[3]), check_job(words[4]))
    except ValueError:
        return None


def parse_record(subject: str) -> tuple[str, str] | None:
    """Tenant and job of a record; None when it is none of ours."""
    prefix = f"$KV.{JOBS}."
    tenant, dot, job = subject.removeprefix(prefix).partition(".")
    try:
        return (check_tenant(tenant), check_job(job)) if subject.startswith(prefix) and dot else None
    except ValueError:
        return None
