"""What is written into the messages of tasks that this process publishes: which job each belongs to.

Celery gives every step of a canvas its id before the first is published, so whoever runs a step knows those that are to
follow it. A message published while a task runs belongs to that task's canvas when it is one of these, or takes the
task's own place; every other message begins a job of its own. No process asks another.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol

from celery.canvas import group

from milepost_reporter.celery.count import can_count
from milepost_reporter.celery.place import HEADER, UNLOCK, Place, ids_of, job_id
from milepost_reporter.celery.plan import drawn, plan_of_chain


class _Publishing:
    """A group that this thread publishes, member by member. Without `size` it is a chord's header."""

    def __init__(self, place: Place, gid: str, size: int | None) -> None:
        self._place = place
        self._gid = gid
        self._size = size
        self._taken = 0
        self._chords: dict[str, Place] = {}

    def next_member(self) -> Place:
        """That of the member which is published next."""
        place = self._place
        if self._size is not None:
            place = place.but(path=(*place.path, (self._gid, self._size, self._taken)))
            self._taken += 1
        self._place = self._place.following
        return place

    def next_chord(self, gid: str) -> Place:
        """That of the member which is a chord with this header: for the header and for what waits for it alike."""
        if gid not in self._chords:
            self._chords[gid] = self.next_member()
        return self._chords[gid]


class Running(Protocol):
    """The task that runs in this thread."""

    id: str
    place: Place
    retries: int
    followers: frozenset[str]
    replaced: bool
    """Set when another is published in its place."""


class Publisher:
    """Tells the messages that this process publishes which job they belong to.

    `current()`: the task that runs in this thread, if one does. `place_of()`: that of a task that this process knows by
    its id.
    """

    def __init__(
        self,
        current: Callable[[], Running | None],
        place_of: Callable[[str], Place | None],
    ) -> None:
        self._current = current
        self._place_of = place_of
        self._here = threading.local()

    def mark(self, headers: dict[str, Any], body: object) -> None:
        """Write into a message's headers where its task stands. `body`: as the second protocol has it."""
        if "id" not in headers or not isinstance(body, tuple | list):
            return  # the first protocol's, which has no headers to write into
        args, _, embed = body
        place = self._place(headers, args, embed).but(sent=round(time.time(), 3))
        headers[HEADER] = place.model_dump_json(exclude_defaults=True)

    def _place(self, headers: Mapping[str, Any], args: Any, embed: Mapping[str, Any]) -> Place:  # noqa: ANN401
        waiting = args if headers["task"] == UNLOCK else ()
        ids = {headers["id"], *ids_of(embed.get("chain")), *ids_of(embed.get("chord")), *ids_of(waiting)}
        return (
            self._again(headers["id"], int(headers.get("retries") or 0))
            or self._in_group(waiting)
            or self._follows(ids)
            or _begun(headers, waiting, embed)
        )

    def _again(self, task: str, retries: int) -> Place | None:
        """That of a task that is retried, or replaced by one under its id."""
        current = self._current()
        if current is not None and current.id == task:
            place: Place | None = current.place
            current.replaced = current.replaced or retries <= current.retries
            retried = retries > current.retries
        else:
            place, retried = self._place_of(task), retries > 0
        if place is None or place.canvas:
            return place and place.following
        return place.but(run=place.run + 1) if retried else place

    def _follows(self, ids: set[str]) -> Place | None:
        """That of what follows the task that runs here, or replaces it."""
        current = self._current()
        if current is None or ids.isdisjoint(current.followers | {current.id}):
            return None
        current.replaced = current.replaced or current.id in ids
        return current.place.following

    def _in_group(self, waiting: Any) -> Place | None:  # noqa: ANN401
        """That of the next member of the group that this thread publishes."""
        if not self._stack:
            return None
        publishing = self._stack[-1]
        return publishing.next_chord(str(waiting[0])) if waiting else publishing.next_member()

    @property
    def _stack(self) -> list[_Publishing]:
        stack: list[_Publishing] | None = getattr(self._here, "stack", None)
        if stack is None:
            stack = self._here.stack = []
        return stack

    def begin_group(self, tasks: list[tuple[Any, Any, str]], chord: Any, app: Any) -> bool:  # noqa: ANN401
        """A group's members are published from now on, until `end_group`; False when they are jobs of their own: where
        they could not tell when all are done.
        """
        gid = tasks[0][2]
        signatures = [task[0] for task in tasks]
        chord = chord or signatures[0].options.get("chord")
        if chord is None and not can_count(app):
            return False
        stack = self._stack
        if stack:
            place = stack[-1].next_member() if chord is None else stack[-1].next_chord(gid)
        else:
            place = self._follows(set(ids_of(signatures))) or Place(
                job=job_id(gid), canvas=True, plan=drawn(signatures).then(drawn(chord)).plan
            )
        stack.append(_Publishing(place, gid, len(tasks) if chord is None else None))
        return True

    def end_group(self) -> None:
        """The last member is published, or there was a mishap."""
        self._stack.pop()


def _begun(headers: Mapping[str, Any], waiting: Any, embed: Mapping[str, Any]) -> Place:  # noqa: ANN401
    """That of a task that begins a job. `waiting`: what it is called with, if it waits for a chord."""
    task, chain, chord = headers["id"], embed.get("chain"), embed.get("chord")
    if waiting or chord:
        return Place(job=job_id(str(waiting[0] if waiting else headers["group"])), canvas=True)
    if chain:
        return Place(job=job_id(task), canvas=True, plan=plan_of_chain(headers, chain))
    return Place(job=job_id(task), run=int(headers.get("retries") or 0) + 1)


def follow_groups(publisher: Publisher, is_reported: Callable[[Any], bool], harmless: Callable[..., Any]) -> None:
    """Have the publisher told of every group that is published: a message does not say how many are in its group.

    That is why this one method of Celery's is wrapped, for good. To be called once a process.
    """
    original = group._apply_tasks

    @functools.wraps(original)
    def apply_tasks(self: Any, tasks: Any, *args: Any, **options: Any) -> Generator[Any, None, None]:  # noqa: ANN401
        if not harmless(is_reported, self.app):
            yield from original(self, tasks, *args, **options)
            return
        tasks = list(tasks)
        begun = tasks and harmless(publisher.begin_group, tasks, options.get("chord"), self.app)
        try:
            yield from original(self, tasks, *args, **options)
        finally:
            if begun:
                harmless(publisher.end_group)

    group._apply_tasks = apply_tasks
