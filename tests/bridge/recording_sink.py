"""A sink that keeps what it is given, in order: what a program without a hub would write."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from milepost_bridge.sink import Sink
from milepost_hub.event import Event
from milepost_hub.job_log import Gap, Snapshot
from milepost_hub.upstream import Upstream

from tests.waiting import eventually_async


class Delivery(NamedTuple):
    tenant: str
    job: str
    payload: bytes
    key: str | None


class RecordingSink(Sink):
    """Wants the jobs in `wanted`, or every job when that is None."""

    def __init__(self, *wanted: tuple[str, str]) -> None:
        self.wanted: set[tuple[str, str]] | None = set(wanted) or None
        self.upstream: Upstream | None = None
        self.changes: list[bool] = []
        self.deliveries: list[Delivery] = []
        self.events: list[tuple[str, str, Event]] = []
        self.resets: list[tuple[str, str, Gap | None, Snapshot]] = []
        self.summaries: list[tuple[str, str, dict[str, Any]]] = []

    def attach(self, upstream: Upstream) -> None:
        self.upstream = upstream

    def upstream_changed(self) -> None:
        assert self.upstream is not None
        self.changes.append(self.upstream.up)

    def wants(self, tenant: str, job: str) -> bool:
        return self.wanted is None or (tenant, job) in self.wanted

    def deliver(self, tenant: str, job: str, event: Event) -> None:
        self.events.append((tenant, job, event))
        self.deliveries.append(Delivery(tenant, job, event.payload, event.key))

    def reset(self, tenant: str, job: str, gap: Gap | None, snapshot: Snapshot) -> None:
        self.resets.append((tenant, job, gap, snapshot))

    def caught_up(self) -> float:
        return 0.0

    def deliver_summary(self, tenant: str, job: str, summary: bytes) -> None:
        self.summaries.append((tenant, job, json.loads(summary)))

    async def has(self, tenant: str, count: int) -> None:
        """Wait until at least so many of a tenant's events were delivered."""
        await eventually_async(lambda: len(self.payloads(tenant)) >= count)

    def payloads(self, tenant: str) -> list[bytes]:
        return [delivery.payload for delivery in self.deliveries if delivery.tenant == tenant]
