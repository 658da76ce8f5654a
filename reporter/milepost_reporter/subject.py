"""NATS subjects: built from names, and parsed into tokens again.

Source: protocol, *Names*. A subject is never matched as text against what somebody sent: it is
parsed, or it is not ours.
"""

import re
from typing import NamedTuple

from milepost_reporter.names import is_name

_PLAIN_LEAVES = frozenset({"progress", "alive", "control"})
_RUN = re.compile(r"[1-9][0-9]{0,15}")

_SHORT, _LONG = 5, 6


class Subject(NamedTuple):
    """`tenant.<tenant>.job.<job>.<leaf>[.<tail>]`: the tail is an `end`'s run, a `state`'s reporter."""

    tenant: str
    job: str
    leaf: str
    tail: str | None

    @property
    def run(self) -> int | None:
        """Which run an `end` is the end of; None on every other subject."""
        return int(self.tail) if self.leaf == "end" and self.tail is not None else None


def parse(subject: str) -> Subject | None:
    """The parts of one of our subjects; None for every other subject."""
    tokens = subject.split(".")
    if len(tokens) == _SHORT:
        tail = None
    elif len(tokens) == _LONG:
        tail = tokens[5]
    else:
        return None
    root, tenant, branch, job, leaf = tokens[:_SHORT]
    if root != "tenant" or branch != "job" or not is_name(tenant) or not is_name(job):
        return None
    return Subject(tenant, job, leaf, tail) if _leaf_fits(leaf, tail) else None


def _leaf_fits(leaf: str, tail: str | None) -> bool:
    if tail is None:
        return leaf in _PLAIN_LEAVES
    if leaf == "end":
        return _RUN.fullmatch(tail) is not None
    return leaf == "state" and is_name(tail)


def progress(tenant: str, job: str) -> str:
    """Where a job's events go."""
    return f"tenant.{tenant}.job.{job}.progress"


def end(tenant: str, job: str, run: int) -> str:
    """Where the one terminal event of a run goes."""
    return f"tenant.{tenant}.job.{job}.end.{run}"


def state(tenant: str, job: str, reporter: str) -> str:
    """Where one reporter's state record goes."""
    return f"tenant.{tenant}.job.{job}.state.{reporter}"


def alive(tenant: str, job: str) -> str:
    """Where a job's beats go."""
    return f"tenant.{tenant}.job.{job}.alive"


def control(tenant: str, job: str) -> str:
    """Where requests to a job go."""
    return f"tenant.{tenant}.job.{job}.control"
