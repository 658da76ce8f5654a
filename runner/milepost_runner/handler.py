"""A handler: the function behind a job's name, what it takes, and how it is to be run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from milepost_reporter.cancel import CancelToken
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from milepost_runner.errors import BadPayload
from milepost_runner.progress import Progress

Function = Callable[[Any, Progress, CancelToken], Any]
"""`(payload, progress, cancel)`, sync or async; what it returns is the job's result, any JSON."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARAMETERS: Final = 3
_REASONS: Final = 20
"""How many are told."""

DEFAULT_QUEUE: Final = "default"


class Handler:
    """One registered function. ValueError when it cannot be one.

    Args:
        name: under which jobs are submitted; 1 to 64 of `A-Z a-z 0-9 _ -`.
        function: takes payload, progress and cancel.
        payload: a pydantic model or any type that pydantic can check; by default what the first parameter says, if it
            is a pydantic model. None: any JSON, as it is.
        queue: workers take work from the queues of the handlers that they have.
        timeout: seconds that one run may take; None: as long as it likes.
        retries: how often a run that failed or took too long is followed by another.
        backoff: seconds until the first retry; doubled for each further one, at most `backoff_max`.
        deaths: how often the job's worker may die before the job is given up.
    """

    def __init__(
        self,
        name: str,
        function: Function,
        *,
        payload: Any = None,  # noqa: ANN401 - whatever pydantic takes for a type
        queue: str = DEFAULT_QUEUE,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 1.0,
        backoff_max: float = 300.0,
        deaths: int = 3,
    ) -> None:
        self.name = check_name("a job's name", name)
        self.queue = check_name("a queue's name", queue)
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        if len(inspect.signature(function).parameters) != _PARAMETERS:
            raise ValueError(f"the handler of {name} must take (payload, progress, cancel)")
        if timeout is not None and timeout <= 0:
            raise ValueError(f"timeout of {name} must be seconds above 0, not {timeout!r}")
        if retries < 0 or deaths < 1 or backoff < 0 or backoff_max < 0:
            raise ValueError(f"{name}: retries and backoff from 0, deaths from 1")
        self.timeout = timeout
        self.retries = retries
        self.backoff = backoff
        self.backoff_max = backoff_max
        self.deaths = deaths
        self._adapter = _adapter(payload if payload is not None else _annotated(function))

    @property
    def schema(self) -> dict[str, Any]:
        """The payload's JSON Schema; `{}` takes anything: so does that of a type for which pydantic knows none."""
        try:
            return {} if self._adapter is None else self._adapter.json_schema()
        except Exception:  # the type is the user's, and may have a say in it
            return {}

    def read(self, payload: Any) -> Any:  # noqa: ANN401 - JSON in, the model out
        """The payload as the function takes it. BadPayload, with the reasons, when it does not fit."""
        if self._adapter is None:
            return payload
        try:
            written = to_json(payload, inf_nan_mode="constants")
        except ValueError as error:
            why = f"it is no JSON: {error}"
            raise BadPayload(why, [{"loc": [], "msg": why}]) from None
        try:
            # A strict model takes a time or a set out of JSON's texts and lists, and not out of Python's.
            return self._adapter.validate_json(written)
        except ValidationError as error:
            reasons = [
                {"loc": list(told["loc"]), "msg": told["msg"]}
                for told in error.errors(include_url=False, include_context=False, include_input=False)[:_REASONS]
            ]
            raise BadPayload(f"the payload of {self.name} does not fit: {_first(reasons)}", reasons) from None

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures of one job, from 1."""
        return float(min(self.backoff * 2.0 ** min(failures - 1, 60), self.backoff_max))

    def call(self, payload: Any, progress: Progress, cancel: CancelToken) -> Any | Awaitable[Any]:  # noqa: ANN401 - the user's
        """Call the function; an awaitable when it is async."""
        return self.function(payload, progress, cancel)


def check_name(what: str, name: object) -> str:
    """The name, if it can be one. ValueError with what is allowed."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise ValueError(f"{what} has 1 to 64 of A-Z a-z 0-9 _ -, not {name!r:.100}")


def _annotated(function: Function) -> Any:  # noqa: ANN401 - a type, if there is one
    """The pydantic model that the first parameter names."""
    try:
        hints = inspect.get_annotations(function, eval_str=True)
    except (NameError, SyntaxError, TypeError):
        return None
    first = next(iter(inspect.signature(function).parameters))
    named = hints.get(first)
    return named if isinstance(named, type) and issubclass(named, BaseModel) else None


def _adapter(payload: Any) -> TypeAdapter[Any] | None:  # noqa: ANN401
    return None if payload is None else TypeAdapter(payload)


def _first(reasons: list[dict[str, Any]]) -> str:
    where = ".".join(map(str, reasons[0]["loc"]))
    return f"{where}: {reasons[0]['msg']}" if where else str(reasons[0]["msg"])
