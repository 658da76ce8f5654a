"""What the bridge asks of whom it delivers to: `milepost_hub.Hub`, or a program that has no use for one."""

from __future__ import annotations

from typing import Protocol

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

    def deliver(self, tenant: str, job: str, payload: bytes, key: str | None) -> None:
        """One event of a wanted job: a valid JSON object, byte for byte as published.

        key: progress with the same key may be conflated to the latest; None is always kept.
        """
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
