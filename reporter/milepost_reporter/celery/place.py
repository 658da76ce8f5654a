"""Which job a task belongs to: its own, or its canvas's (chain, group, chord). Told in a header of its message."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from milepost_reporter.celery.plan import Plan
from milepost_reporter.names import MAX_NAME, NAME, is_name

HEADER: Final = "milepost"
UNLOCK: Final = "celery.chord_unlock"
"""Celery's own task that waits for a chord where the result backend cannot count."""

_MAX_NODE: Final = 128

Part = tuple[str, int, int]
"""A plain group that a task is in: its id, how many are in it, and which of them."""


class Place(BaseModel):
    """Where a task stands."""

    model_config = ConfigDict(frozen=True)

    job: str = Field(pattern=f"^{NAME.pattern}$")
    run: int = Field(default=1, ge=1, lt=2**53)
    canvas: bool = False
    opens: bool = True
    """Whether this task tells that the job has begun."""
    path: tuple[Part, ...] = ()
    """The plain groups that it is in, outermost first, whose end no other task follows."""
    plan: Plan | None = None
    sent: float = 0.0
    """When it was published, in unix seconds."""

    def but(self, **changed: Any) -> Place:  # noqa: ANN401 - fields
        """The same but for these."""
        return self.model_copy(update=changed)

    @property
    def following(self) -> Place:
        """That of what follows in the same canvas."""
        return self.but(canvas=True, opens=False, plan=None)


def job_id(task: str) -> str:
    """The job's id for a task's or a group's: the same where it can be one, else one that is always the same."""
    if is_name(task):
        return task
    digest = hashlib.sha256(task.encode("utf-8", "replace")).hexdigest()[:16]
    fit = re.sub(r"[^A-Za-z0-9_-]+", "-", task)[: MAX_NAME - len(digest) - 1].strip("-")
    return f"{fit or 'task'}-{digest}"


def node_id(task: str) -> str:
    """A task's id as its node's."""
    return task if 0 < len(task) <= _MAX_NODE else job_id(task)


def read_place(request: Mapping[str, Any]) -> Place:
    """Where the task of a request stands: what its header says, or what can be told without one."""
    try:
        return Place.model_validate_json(request.get(HEADER) or "")
    except (ValueError, TypeError):
        chain, chord, gid = request.get("chain"), request.get("chord"), request.get("group")
        of = str(gid if chord and gid else request["id"])
        run = 1 if chain or chord else int(request.get("retries") or 0) + 1
        return Place(job=job_id(of), run=run, canvas=bool(chain or chord))


def ids_of(signature: object) -> Iterator[str]:
    """The ids of all tasks of a signature, or of several, as Celery writes them into messages."""
    if isinstance(signature, Mapping):
        options, inner = signature.get("options"), signature.get("kwargs")
        if isinstance(options, Mapping):
            if options.get("task_id"):
                yield str(options["task_id"])
            yield from ids_of(options.get("chord"))
        if signature.get("subtask_type") and isinstance(inner, Mapping):
            for name in ("tasks", "header", "body"):
                yield from ids_of(inner.get(name))
    elif isinstance(signature, list | tuple):
        for one in signature:
            yield from ids_of(one)


def followers(request: Mapping[str, Any]) -> frozenset[str]:
    """The ids of those that are to follow the task of a request."""
    waiting = request["args"] if request.get("task") == UNLOCK else None
    return frozenset((*ids_of(request.get("chain")), *ids_of(request.get("chord")), *ids_of(waiting)))
