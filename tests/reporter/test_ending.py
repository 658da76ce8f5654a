"""How a job ended, told by what left it."""

from __future__ import annotations

import asyncio

import pytest
from milepost_reporter.cancel import Cancelled
from milepost_reporter.ending import Ending
from milepost_reporter.payload import encode


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


def test_the_details_of_an_error_never_fill_an_event() -> None:
    """Control characters take six bytes each as JSON: the end of a job with many could not be told."""
    error = Ending.failed(ValueError("\0\x1b\t" * 100_000)).error
    assert error is not None
    assert len(encode({"error": error})) < 60_000
    assert error["details"].endswith("\ufffd\ufffd\t\n")
