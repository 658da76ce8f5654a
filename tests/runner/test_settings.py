"""Every figure has its default and its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from milepost_runner.settings import RunnerSettings, WorkerSettings
from pydantic import ValidationError


def test_a_worker_shares_the_runners_defaults() -> None:
    """Who shares a queue and a store must be of one mind about them."""
    runner, worker = RunnerSettings().model_dump(), WorkerSettings().model_dump()
    assert {name: worker[name] for name in runner} == runner


def test_what_fits_a_job_fits_its_event() -> None:
    """A result goes into an end event, whose bound is the log's 65,536 bytes; a beat comes well before a claim ends."""
    assert WorkerSettings().result_max_bytes < 65_536
    assert WorkerSettings().cancel_wait < WorkerSettings().drain


@pytest.mark.parametrize(
    "wrong",
    [
        {"claim": 0.5}, {"tenant_limit": 0}, {"payload_max_bytes": 65_537}, {"payload_max_bytes": 0},
        {"queue_max_bytes": -1}, {"store_max_age": 10}, {"replicas": 0}, {"replicas": 6}, {"concurrency": 0},
        {"executor": "gpu"}, {"cancel_wait": -1}, {"drain": -1}, {"result_max_bytes": 49_153}, {"record_interval": 0},
        {"poll": 0}, {"look": 0}, {"announce": 0}, {"claim": "soon"},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        WorkerSettings.model_validate(wrong)
