from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.cancel import Cancelled, CancelToken
from milepost_runner.call import Call
from milepost_runner.executor import CANCELLED, COMPLETED, FAILED, Outcome
from milepost_runner.handler import Handler
from milepost_runner.progress import Progress

from tests.runner.handlers import Order, Rows
from tests.runner.recording_progress import RecordingProgress


def called(
    function: Callable[..., Any],
    submitted: Any = None,  # noqa: ANN401
    *,
    told: bool = False,
    max_result: int = 49_152,
    **options: Any,  # noqa: ANN401
) -> Outcome:
    cancel = CancelToken()
    if told:
        cancel.request()
    return Call(Handler("job", function, **options), submitted, RecordingProgress(), cancel, max_result).here()


def returning(value: Any) -> Callable[..., Any]:  # noqa: ANN401
    def function(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
        return value

    return function


def raising(error: BaseException) -> Callable[..., Any]:
    def function(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
        raise error

    return function


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (None, b"null"),
        ({"rows": [1, 2.5, "ä"]}, '{"rows":[1,2.5,"ä"]}'.encode()),
        (Order(rows=3), b'{"rows":3}'),
        (Rows(2, datetime(2024, 2, 29, tzinfo=UTC)), b'{"count":2,"at":"2024-02-29T00:00:00Z"}'),
        (math.nan, b"null"),
    ],
)
def test_what_a_handler_returns_is_the_result_as_json(value: object, result: bytes) -> None:
    assert called(returning(value)) == Outcome(COMPLETED, result)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_any_result_is_json_or_a_final_failure(value: object) -> None:
    """Surrogates and infinities included: what comes out can be read by anybody."""
    outcome = called(returning(value))
    if outcome.status == COMPLETED:
        json.loads(outcome.result, parse_constant=pytest.fail)
    else:
        assert outcome.final


def test_a_result_has_a_bound_and_a_larger_one_is_a_final_failure_that_says_so() -> None:
    assert called(returning("x" * 8), max_result=10).status == COMPLETED
    outcome = called(returning("x" * 2000), max_result=1000)
    assert outcome.status == FAILED
    assert outcome.final
    assert outcome.error == {"message": "the result has 2,002 bytes, more than 1,000"}


def test_a_result_that_is_no_json_is_a_final_failure() -> None:
    outcome = called(returning(object()))
    assert (outcome.status, outcome.final) == (FAILED, True)
    assert outcome.error is not None
    assert "returned is no JSON that can be read" in outcome.error["message"]


def test_a_payload_is_checked_and_one_that_does_not_fit_is_a_final_failure_with_reasons() -> None:
    def function(payload: Any, progress: Progress, cancel: CancelToken) -> int:  # noqa: ANN401
        return payload.rows + 1  # type: ignore[no-any-return]

    assert called(function, {"rows": 3}, payload=Order) == Outcome(COMPLETED, b"4")
    outcome = called(function, {"rows": "many"}, payload=Order)
    assert (outcome.status, outcome.final) == (FAILED, True)
    assert outcome.error is not None
    assert "rows" in outcome.error["message"]
    assert json.loads(outcome.error["details"])[0]["loc"] == ["rows"]


@pytest.mark.parametrize(
    ("error", "told", "status"),
    [
        (Cancelled(), False, CANCELLED),
        (Cancelled(), True, CANCELLED),
        (asyncio.CancelledError(), True, CANCELLED),
        (asyncio.CancelledError(), False, FAILED),
        (KeyboardInterrupt(), True, CANCELLED),
        (KeyboardInterrupt(), False, FAILED),
        (SystemExit(), False, COMPLETED),
        (SystemExit(0), True, COMPLETED),
        (SystemExit(3), True, FAILED),
        (ValueError("no"), True, FAILED),
        (GeneratorExit(), False, FAILED),
        (MemoryError(), False, FAILED),
    ],
)
def test_an_exception_says_how_the_run_came_out(error: BaseException, told: bool, status: str) -> None:
    outcome = called(raising(error), told=told)
    assert (outcome.status, outcome.final, outcome.result) == (status, False, b"null")
    assert (outcome.error is not None) == (status == FAILED)


def test_a_failure_has_one_line_and_the_traceback() -> None:
    outcome = called(raising(ValueError("not that")))
    assert outcome.error is not None
    assert outcome.error["message"] == "ValueError: not that"
    assert "Traceback" in outcome.error["details"]
    assert "raise error" in outcome.error["details"]


def test_what_a_failure_says_is_bounded() -> None:
    outcome = called(raising(ValueError("x" * 100_000)))
    assert outcome.error is not None
    assert len(outcome.error["message"]) <= 4_096
    assert len(outcome.error["details"]) <= 8_192


def test_an_async_handler_runs_in_a_loop_of_its_own() -> None:
    async def function(payload: Any, progress: Progress, cancel: CancelToken) -> str:  # noqa: ANN401
        await asyncio.sleep(0)
        return "done"

    assert called(function) == Outcome(COMPLETED, b'"done"')


def test_a_function_may_return_what_is_to_be_awaited() -> None:
    async def later() -> str:
        return "done"

    def function(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
        return later()

    assert called(function) == Outcome(COMPLETED, b'"done"')


async def test_an_async_handler_runs_in_the_running_loop() -> None:
    async def function(payload: Any, progress: Progress, cancel: CancelToken) -> int:  # noqa: ANN401
        return id(asyncio.get_running_loop())

    call = Call(Handler("job", function), None, RecordingProgress(), CancelToken())
    assert await call.in_loop() == Outcome(COMPLETED, str(id(asyncio.get_running_loop())).encode())


async def test_an_async_handler_that_raises_what_ends_loops_does_not_end_this_one() -> None:
    for error in (SystemExit(2), KeyboardInterrupt()):

        async def function(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
            raise error  # noqa: B023 - called within the turn

        call = Call(Handler("job", function), None, RecordingProgress(), CancelToken())
        assert (await asyncio.create_task(call.in_loop())).status == FAILED
