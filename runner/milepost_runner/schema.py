"""A payload held against a JSON Schema, which anybody may have written: nothing is fetched, and it ends in time.

What a schema cannot be asked is for the worker to say, which checks each payload again by the handler's own model.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from referencing import Registry

_REASONS: Final = 20
_LONGEST: Final = 500
_STEPS: Final = 100_000
"""Keywords that are looked at; the largest payload against an ordinary model needs fewer."""

_SECONDS: Final = 1.0
"""Of a core's time: steps may be long ones."""

_COSTLY: Final = {
    "pattern": str,
    "patternProperties": dict,
    "uniqueItems": bool,
    "$id": str,
    "$anchor": str,
    "$dynamicAnchor": str,
    "$dynamicRef": str,
}
"""Keywords, with the type of their value, that take more than linear time: a pattern can take for ever, and what a name
stands for is looked for in the whole schema, each time."""

_NOT_ASKED: Final = ("unevaluatedItems", "unevaluatedProperties")
"""Keywords that go through the schema in steps that nobody counts, as often as its references multiply them."""

_Keyword = Callable[[Any, Any, Any, Any], Any]

_left: ContextVar[Iterator[int]] = ContextVar("milepost_steps_left")
_until: ContextVar[float] = ContextVar("milepost_steps_until")


class _TooMuch(Exception):  # noqa: N818 - what it is
    """The schema asks for more steps than it is given."""


def reasons(schema: dict[str, Any], payload: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Why a payload does not fit, as `{"loc": ["rows", 0], "msg": "…"}`, 20 at most.

    Empty when it fits, and when the schema makes no sense, names other documents or takes too long.
    """
    token = _left.set(iter(range(_STEPS)))
    _until.set(time.thread_time() + _SECONDS)
    try:
        errors = _Validator(schema, registry=Registry()).iter_errors(payload)
        return [
            {"loc": list(error.absolute_path), "msg": error.message[:_LONGEST]}
            for error in itertools.islice(errors, _REASONS)
        ]
    except Exception:  # a senseless schema comes out as whatever its keyword happened to raise
        return []
    finally:
        _left.reset(token)


def harmless(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """A schema without the keywords that cost more than the schema and the payload are long."""
    if isinstance(schema, list):
        return [harmless(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {word: harmless(part) for word, part in schema.items() if not isinstance(part, _COSTLY.get(word, ()))}
    if "patternProperties" in schema.keys() - kept.keys():
        kept.pop("additionalProperties", None)  # it speaks of what no pattern has matched
    return kept


def _counted(keyword: _Keyword) -> _Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:  # noqa: ANN401 - jsonschema's
        if next(_left.get(), None) is None or time.thread_time() > _until.get():
            raise _TooMuch
        return keyword(validator, value, instance, schema)

    return counted


def _passed_over(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401 - jsonschema's
    return iter(())


_Validator: Final = extend(  # type: ignore[no-untyped-call] # as jsonschema has it
    Draft202012Validator,
    {
        **{word: _counted(keyword) for word, keyword in Draft202012Validator.VALIDATORS.items()},
        **dict.fromkeys(_NOT_ASKED, _passed_over),
    },
)
