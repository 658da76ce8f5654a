"""What the hub asks of a job log: snapshots, replay, the list of jobs. The bridge has one on JetStream."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from milepost_hub.event import Event


class Snapshot(NamedTuple):
    """What a job's events amount to, up to one of them."""

    json: bytes
    """The protocol's snapshot object, in UTF-8."""
    position: int
    """Every event up to here is in it; 0 when nothing is stored."""
    cursor: str | None
    """Of that event; None when nothing is stored."""
    known: bool
    """Somebody has heard of this job."""
    final: bool
    """Its current run has ended, and no retry was promised."""


class Gap(NamedTuple):
    """Events that were asked for and cannot be had."""

    reason: str
    """`retention`, `epoch` or `unavailable`."""
    start: str | None
    """The cursor behind which they are missing, where it is known."""
    to: str | None
    """The cursor up to which they are missing, where it is known."""


class JobLog(Protocol):
    """A tenant's jobs and their events, in order. All of it is called on the hub's event loop.

    Every coroutine may raise `errors.LogUnavailable`: it is asked again later.
    """

    async def follow(self, tenant: str, job: str) -> int:
        """Have a job's events delivered. The interest in the tenant must be in effect.

        Returns:
            The position behind which every event is delivered from now on: once, in order. Called again, it returns
            when everything stored by now has been delivered.
        """
        ...

    def unfollow(self, tenant: str, job: str) -> None:
        """Nobody watches this job any more."""
        ...

    async def snapshot(self, tenant: str, job: str) -> Snapshot:
        """What a job's stored events amount to by now; of a job nobody has heard of, one that is not `known`."""
        ...

    async def read(self, tenant: str, job: str, after: str | None, limit: int) -> list[Event]:
        """The next events behind a cursor, at most `limit`, at least one unless none is stored behind it.

        after: None is the beginning of what is stored.

        Raises:
            BadCursor: it is none.
            CursorGone: its event is no longer this job's, with the gap.
            LogUnavailable: ask again.
        """
        ...

    def check(self, cursor: str) -> int:
        """The position that a cursor names. Does no I/O.

        Raises:
            BadCursor: it is none.
        """
        ...

    async def jobs(self, tenant: str, jobs: frozenset[str] | None) -> list[bytes]:
        """The `job.summary` fields of every known job as JSON objects; of `jobs` only, if given.

        Newest first: by `startedAt`, where that is not known by `lastEventAt`, then by id, all descending.
        """
        ...
