"""Handlers are registered by a decorator, each name once, and loaded by their modules' names."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from milepost_reporter.cancel import CancelToken
from milepost_runner.handler import Handler
from milepost_runner.progress import Progress
from milepost_runner.registry import REGISTRY, Registry, job, load

MODULE = """
from milepost_runner import registry

@registry.job("{name}", retries=2)
def handle(payload, progress, cancel):
    return payload
"""


def first(payload: Any, progress: Progress, cancel: CancelToken) -> None: ...  # noqa: ANN401 - any JSON


def second(payload: Any, progress: Progress, cancel: CancelToken) -> None: ...  # noqa: ANN401 - any JSON


def test_the_decorator_registers_and_leaves_the_function_as_it_was() -> None:
    """With its options, under its name."""
    registry = Registry()
    assert registry.job("first", queue="slow", retries=3)(first) is first
    handler = registry.get("first")
    assert handler is not None
    assert (handler.function, handler.queue, handler.retries) == (first, "slow", 3)
    assert [known.name for known in registry] == ["first"]
    assert len(registry) == 1
    assert registry.get("second") is None


def test_two_functions_cannot_have_one_name() -> None:
    registry = Registry()
    registry.job("first")(first)
    with pytest.raises(ValueError, match="there are two handlers named first"):
        registry.job("first")(second)


def test_the_same_function_may_come_again() -> None:
    """A module that is run as a program and imported by its name brings its handlers twice."""
    registry = Registry()
    registry.add(Handler("first", first))
    registry.add(Handler("first", first, retries=1))
    assert [handler.retries for handler in registry] == [1]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that is on no path yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("handlers_of_")]:
        del sys.modules[name]


def test_modules_are_found_in_the_working_directory(elsewhere: Path) -> None:
    """And fill the registry that `@job` fills."""
    (elsewhere / "handlers_of_loading.py").write_text(MODULE.format(name="test-loaded"))
    load(["handlers_of_loading"])
    handler = REGISTRY.get("test-loaded")
    assert handler is not None
    assert handler.retries == 2
    assert job == REGISTRY.job


def test_functions_of_the_same_name_in_two_modules_are_two(elsewhere: Path) -> None:
    """Neither silently takes the other's place; a module that is reloaded, or run as a program besides, is one."""
    for module in ("handlers_of_one", "handlers_of_another"):
        (elsewhere / f"{module}.py").write_text(MODULE.format(name="test-twice"))
    load(["handlers_of_one"])
    with pytest.raises(ValueError, match=r"test-twice: handlers_of_one\.handle and handlers_of_another\.handle"):
        load(["handlers_of_another"])
    importlib.reload(sys.modules["handlers_of_one"])
    runpy.run_path("handlers_of_one.py", run_name="__main__")


def test_what_an_import_raises_is_not_hidden(elsewhere: Path) -> None:
    (elsewhere / "handlers_of_trouble.py").write_text("raise ValueError('in there')\n")
    with pytest.raises(ValueError, match="in there"):
        load(["handlers_of_trouble"])
    with pytest.raises(ModuleNotFoundError, match="handlers_of_nobody"):
        load(["handlers_of_nobody"])
