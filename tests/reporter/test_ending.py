"""How a job ended, told by what left it."""

from __future__ import annotations

import asyncio

import pytest
from milepost_reporter.cancel import Cancelled
from milepost_reporter.ending import Ending


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "completed"),
        (SystemExit(0), "completed"),
        (SystemExit(3), "failed"),
        (ValueError("no"), "failed"),
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (Cancelled("enough"), "cancelled"),
        (BaseExceptionGroup("tasks", [Cancelled(), BaseExceptionGroup("inner", [Cancelled()])]), "cancelled"),
        (BaseExceptionGroup("tasks", [Cancelled(), ValueError("no")]), "failed"),
    ],
    ids=repr,
)
def test_an_exception_tells_how_it_ended(error: BaseException | None, status: str) -> None:
    """What stops a job because it was told to is no failure, alone or from a task group; anything else beside it is."""
    assert Ending.of(error).status == status
