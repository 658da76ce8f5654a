"""Handlers by name, and the decorator that registers them."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from milepost_runner.handler import Function, Handler

F = TypeVar("F", bound=Function)


class Registry:
    """Handlers by their names."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def job(self, name: str, **options: Any) -> Callable[[F], F]:  # noqa: ANN401 - Handler's, which checks them
        """Register the function below as the handler of jobs of this name; options are `Handler`'s.

        ValueError when it cannot be one, or the name is another function's already.
        """

        def register(function: F) -> F:
            self.add(Handler(name, function, **options))
            return function

        return register

    def add(self, handler: Handler) -> None:
        """Register a handler. ValueError when its name is taken by a function of another place."""
        there = self._handlers.get(handler.name)
        if there is not None and not _again(there.function, handler.function):
            places = f"{_place(there.function)} and {_place(handler.function)}"
            raise ValueError(f"there are two handlers named {handler.name}: {places}")
        self._handlers[handler.name] = handler

    def get(self, name: str) -> Handler | None:
        """The handler of that name."""
        return self._handlers.get(name)

    def __iter__(self) -> Iterator[Handler]:
        return iter(list(self._handlers.values()))

    def __len__(self) -> int:
        return len(self._handlers)


def _again(there: Function, function: Function) -> bool:
    """Whether it is the same: a module that is loaded again, as __main__ or by a reload, brings its functions again."""
    if _name(there) != _name(function):
        return False
    return there.__module__ == function.__module__ or _file(there) == _file(function)


def _place(function: Function) -> str:
    return f"{function.__module__}.{_name(function)}"


def _name(function: Function) -> str:
    # what is called need not be a function
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _file(function: Function) -> object:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Path(code.co_filename).resolve() if code is not None else function


REGISTRY: Final = Registry()
"""What `@job` fills."""

job: Final = REGISTRY.job


def load(modules: list[str]) -> None:
    """Import the modules whose handlers are wanted, from the working directory too. Raises what their import raises."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    for module in modules:
        importlib.import_module(module)
