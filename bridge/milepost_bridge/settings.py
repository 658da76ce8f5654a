"""What the bridge holds of what NATS brings, with every default."""

from __future__ import annotations

from typing import ClassVar

from milepost_reporter.jetstream.access import Access
from pydantic import Field, model_validator


class BridgeSettings(Access):
    """How to reach NATS, and what to hold of what it brings.

    Times are seconds, sizes are bytes. What cannot be used raises pydantic's ValidationError, which names it.
    """

    connection_name: ClassVar[str] = "milepost-bridge"

    control_timeout: float = Field(default=5.0, gt=0)
    """The longest wait for a job's program to answer a request, such as to cancel it."""

    log: bool = True
    """Keep a log of every job in JetStream, wherever the server has it. Without, events are shown live only."""
    log_max_age: float = Field(default=7 * 86_400.0, ge=1)
    """Events and state records are kept for this long."""
    log_events_per_job: int = Field(default=10_000, ge=1)
    """Events kept of each job; beyond, its oldest go."""
    log_max_bytes: int = Field(default=2**30, ge=0)
    """The most that the log may take on disk; beyond, the oldest events of all jobs go. 0: no bound of its own."""
    log_replicas: int = Field(default=1, ge=1, le=5)
    """Copies of each event, on as many servers of a cluster; 3 survive the loss of one."""
    log_update: bool = False
    """Change streams that exist to these settings, where NATS allows that. Without, what differs is told."""
    log_check: float = Field(default=30.0, gt=0)
    """A watched job that is quiet for this long is compared with the log, within 2 s in a cluster; then less often."""
    log_look: float = Field(default=5.0, gt=0)
    """The streams are looked at this often: whether they are there, the same, and fit. JetStream may come or go."""

    lease_min: float = Field(default=1.0, gt=0)
    """A job that promises to beat more often is given this long."""
    lease_max: float = Field(default=86_400.0, gt=0)
    """A job that promises to beat less often is held to this."""
    lease_jobs: int = Field(default=200_000, ge=1)
    """Jobs whose beats are waited for; beyond, further ones are not watched, and it is told."""
    lease_scan: float = Field(default=300.0, gt=0)
    """The log is looked through this often for runs whose job has died unheard."""

    linger: float = Field(default=5.0, ge=0)
    """A tenant that nobody watches any more is kept subscribed for this long: a reload finds it there."""

    max_payload: int = Field(default=65_536, ge=1)
    """The longest event; longer ones are counted as `invalid_too_large`."""
    max_jobs: int = Field(default=50_000, ge=1)
    """Watched jobs whose runs and duplicates are told apart; beyond, the longest silent is forgotten."""
    max_reporters: int = Field(default=256, ge=1)
    """Reporters of one job whose duplicates are told; beyond, the longest silent is forgotten."""
    job_memory: float = Field(default=60.0, gt=0)
    """A job that nobody has watched for this time is forgotten."""

    summary_interval: float = Field(default=1.0, gt=0)
    """At most one summary of a job in this time."""
    summary_jobs: int = Field(default=10_000, ge=1)
    """Jobs that are summed up; beyond, the longest silent is forgotten."""
    stalled_after: float = Field(default=120.0, gt=0)
    """A job that has not ended is shown as stalled after this time without an event."""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> BridgeSettings:
        if self.lease_min > self.lease_max:
            raise ValueError("lease_min is longer than lease_max")
        return self
