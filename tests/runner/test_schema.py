"""A payload is held against a schema, and no schema, whoever wrote it, does harm."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_runner.schema import harmless, reasons
from pydantic import BaseModel, ConfigDict, Field

from tests.runner.any_json import JSON


class Tree(BaseModel):
    """As handlers' models are: closed, nested, with words of its own for keywords."""

    model_config = ConfigDict(extra="forbid")

    rows: list[int]
    pattern: str = Field(default="a", pattern="^a")
    child: Tree | None = None


SCHEMA = Tree.model_json_schema()


def test_what_fits_has_no_reasons_and_what_does_not_has_each() -> None:
    assert reasons(SCHEMA, {"rows": [1], "child": {"rows": []}}) == []
    told = reasons(SCHEMA, {"rows": [1, "x"], "pattern": "b", "child": {"rows": 5}})
    assert ["rows", 1] in [reason["loc"] for reason in told]
    assert ["pattern"] in [reason["loc"] for reason in told]


def test_reasons_are_bounded() -> None:
    """In number, and in length."""
    told = reasons({"items": {"enum": ["y" * 10_000]}}, ["x" * 10_000] * 1_000)
    assert len(told) == 20
    assert all(len(reason["msg"]) <= 500 for reason in told)


def test_without_costly_keywords_the_rest_still_counts() -> None:
    """A property named as a keyword is none."""
    tame = harmless(SCHEMA)
    assert reasons(tame, {"rows": [], "pattern": "b"}) == []
    assert [reason["loc"] for reason in reasons(tame, {"rows": "x", "pattern": 5})] == [["rows"], ["pattern"]]
    assert reasons(tame, {"rows": [], "more": 1})
    closed = {"patternProperties": {"^a": {}}, "additionalProperties": False}
    assert reasons(closed, {"b": 1})
    assert reasons(harmless(closed), {"a": 1}) == []


def test_a_pattern_that_never_ends_is_not_begun() -> None:
    """Wherever it stands."""
    endless = {"pattern": "^(a+)+$"}
    for schema in (
        endless,
        {"allOf": [endless]},
        {"$defs": {"x": endless}, "$ref": "#/$defs/x"},
        {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
    ):
        assert reasons(harmless(schema), "a" * 50 + "!") == []
        assert reasons(harmless(schema), {"a" * 50 + "!": 1}) == []


def test_a_schema_that_doubles_at_each_step_is_left() -> None:
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    assert reasons({"$defs": {**doubling, "d60": {"type": "string"}}, "$ref": "#/$defs/d0"}, "x") == []


def test_what_references_multiply_in_steps_that_nobody_counts_is_passed_over() -> None:
    """jsonschema goes through these by itself when it looks what was evaluated: two to the sixtieth times."""
    both = {f"d{n}": {"dependentSchemas": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "ab"}} for n in range(60)}
    for word in ("unevaluatedProperties", "unevaluatedItems"):
        endless = {word: False, **both["d0"], "$defs": {**both, "d60": {}}}
        assert reasons(endless, {"a": 1, "b": 1}) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"enum": list(range(10_000))}},
        {
            "$id": "http://here.invalid/x",
            "items": {"$ref": "#last"},
            "$defs": {f"d{n}": {"$anchor": f"a{n}"} for n in range(1_000)}
            | {"last": {"$anchor": "last", "type": "integer"}},
        },
    ],
    ids=["each item among many values", "each item by a name"],
)
def test_steps_that_are_long_ones_do_not_add_up(schema: dict[str, Any]) -> None:
    """Minutes of a core's time otherwise. The last item would not fit: so far it does not come."""
    assert reasons(harmless(schema), [9_999] * 10_000 + ["x"]) == []


def test_nothing_is_fetched() -> None:
    """A document elsewhere is not looked for: nobody connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        for word in ("$ref", "$dynamicRef", "$schema", "$id"):
            assert reasons({word: f"http://127.0.0.1:{port}/schema.json"}, 1) == []
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": 5},
        {"type": "number or so"},
        {"pattern": "("},
        {"properties": 5},
        {"required": 7},
        {"$ref": 5},
    ],
    ids=str,
)
def test_a_schema_that_makes_no_sense_refuses_nothing(schema: dict[str, Any]) -> None:
    """The worker checks again, by the model itself."""
    assert reasons(schema, "x") == []
    assert reasons(schema, {"x": 1}) == []


WORDS = st.sampled_from(
    ["type", "properties", "items", "required", "allOf", "$ref", "pattern", "minimum", "enum", "$defs"]
)


@given(st.dictionaries(WORDS, JSON | st.dictionaries(WORDS, JSON)), JSON)
def test_no_schema_raises(schema: dict[str, Any], payload: object) -> None:
    for told in (reasons(schema, payload), reasons(harmless(schema), payload)):
        assert all(set(reason) == {"loc", "msg"} for reason in told)
