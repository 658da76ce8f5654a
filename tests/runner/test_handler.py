"""A handler says what it takes, when it is registered and when it is given something."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.cancel import CancelToken
from milepost_runner.errors import BadPayload
from milepost_runner.handler import Handler, check_name
from milepost_runner.progress import Progress
from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from tests.runner.any_json import JSON


class Build(BaseModel):
    """What `build` takes."""

    rows: int = Field(ge=1)
    tags: list[int] = []


def plain(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401 - any JSON
    return payload


def build(payload: Build, progress: Progress, cancel: CancelToken) -> int:
    return payload.rows


async def waits(payload: Build, progress: Progress, cancel: CancelToken) -> int:
    return payload.rows


def test_the_model_is_what_the_first_parameter_says() -> None:
    """Its schema is told, and the function gets the model."""
    handler = Handler("build", build)
    assert handler.schema["properties"]["rows"] == {"minimum": 1, "title": "Rows", "type": "integer"}
    assert handler.read({"rows": 3}) == Build(rows=3)


def test_a_model_named_at_registration_comes_first() -> None:
    assert Handler("build", plain, payload=list[int]).read([1, 2]) == [1, 2]
    with pytest.raises(BadPayload):
        Handler("build", build, payload=list[int]).read({"rows": 3})


@given(JSON)
def test_without_a_model_any_json_is_taken_as_it_is(payload: object) -> None:
    handler = Handler("plain", plain)
    assert handler.schema == {}
    assert handler.read(payload) is payload


class Strict(BaseModel):
    """What takes nothing for something else."""

    model_config = ConfigDict(strict=True)

    when: datetime
    tags: frozenset[str]


def test_a_strict_model_reads_what_json_has_no_types_for() -> None:
    given = {"when": "2024-02-29T12:00:00Z", "tags": ["a", "b"]}
    read = Handler("strict", plain, payload=Strict).read(given)
    assert read == Strict(when=datetime(2024, 2, 29, 12, tzinfo=UTC), tags=frozenset("ab"))
    with pytest.raises(BadPayload, match="no JSON"):
        Handler("strict", plain, payload=Strict).read({"when": object()})


def test_a_type_without_a_schema_is_checked_by_the_worker_alone() -> None:
    """One handler's type does not keep its worker from telling of all the others."""
    handler = Handler("lines", plain, payload=Annotated[Any, PlainValidator(lambda text: text.splitlines())])
    assert handler.schema == {}
    assert handler.read("a\nb") == ["a", "b"]


def test_what_does_not_fit_is_told_with_its_place() -> None:
    """In the message the first, in the reasons each; never what was given, which may be secret."""
    with pytest.raises(BadPayload, match=r"^the payload of build does not fit: rows: Input should be") as refused:
        Handler("build", build).read({"rows": 0, "tags": [1, "secret"]})
    assert [reason["loc"] for reason in refused.value.reasons] == [["rows"], ["tags", 1]]
    assert all(set(reason) == {"loc", "msg"} for reason in refused.value.reasons)
    assert "secret" not in str(refused.value.reasons)


def test_reasons_are_bounded() -> None:
    """A long list of wrong values does not come back as a longer answer."""
    with pytest.raises(BadPayload) as refused:
        Handler("build", build).read({"rows": 1, "tags": ["x"] * 10_000})
    assert len(refused.value.reasons) == 20


@given(JSON)
def test_a_model_reads_or_refuses_with_reasons(payload: object) -> None:
    """Whatever JSON comes, nothing but BadPayload is raised, with at least one reason."""
    reasons: list[object] | None = None
    try:
        assert isinstance(Handler("build", build).read(payload), Build)
    except BadPayload as refused:
        reasons = [*refused.reasons]
    assert reasons != []


def test_async_functions_are_known() -> None:
    assert Handler("waits", waits).is_async
    assert not Handler("build", build).is_async


@given(st.integers(1, 5_000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_pauses_grow_up_to_their_bound(failures: int, backoff: float, backoff_max: float) -> None:
    """Doubled from one failure to the next, never above the bound, whatever the count."""
    handler = Handler("plain", plain, backoff=backoff, backoff_max=backoff_max)
    assert 0 <= handler.pause(failures) <= handler.pause(failures + 1) <= backoff_max
    assert handler.pause(1) == min(backoff, backoff_max)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"retries": -1},
        {"deaths": 0},
        {"backoff": -1},
        {"backoff_max": -1},
        {"queue": "a.b"},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"plain|queue"):
        Handler("plain", plain, **options)


def test_a_function_that_does_not_take_the_three_is_refused() -> None:
    with pytest.raises(ValueError, match="payload, progress, cancel"):
        Handler("wrong", lambda payload: payload)  # type: ignore[arg-type,misc] # as somebody may write it


@pytest.mark.parametrize("name", ["", "a b", "a.b", "*", ">", "a\n", "x" * 65, "é", None, 5])
def test_a_name_that_cannot_stand_in_a_subject_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match="a job's name has 1 to 64 of"):
        check_name("a job's name", name)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_any_other_name_is_taken(name: str) -> None:
    assert check_name("a job's name", name) == name
