"""What the bridge asks of whom it delivers to: `milepost_hub.Hub`, or a program that has no use for one."""

from __future__ import annotations

from typing import Protocol

from milepost_hub.event import Event
from milepost_hub.job_log import Gap, Snapshot
from milepost_hub.upstream import Upstream


class Sink(Protocol):
    """Takes events. All of it is called on the bridge's event loop; it must not block."""

    def attach(self, upstream: Upstream) -> None:
        """Hear of the bridge, once, before anything else."""
        ...

    def upstream_changed(self) -> None:
        """The bridge's `up` has changed."""
        ...

    def wants(self, tenant: str, job: str) -> bool:
        """Whether somebody watches this job just now. Asked for every event."""
        ...

    def deliver(self, tenant: str, job: str, event: Event) -> None:
        """One event of a wanted job; its payload a valid JSON object, byte for byte as published."""
        ...

    def reset(self, tenant: str, job: str, gap: Gap | None, snapshot: Snapshot) -> None:
        """A followed job could not go on event by event: the gap, what it amounts to by now, then the tail."""
        ...

    def caught_up(self) -> float:
        """Everything read so far was delivered.

        Returns:
            Seconds during which another event would only wait: so long the bridge lets them gather. Often 0.
        """
        ...

    def deliver_summary(self, tenant: str, job: str, summary: bytes) -> None:
        """A job's summary as a JSON object, for a tenant with `Interest.SUMMARIES`."""
        ...
