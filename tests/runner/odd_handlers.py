"""Handlers that do what no handler should, all of them async, so that every executor takes them."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import warnings
from typing import Any, Final

from milepost_reporter.cancel import CancelToken
from milepost_runner.errors import BadPayload
from milepost_runner.progress import Progress
from milepost_runner.registry import REGISTRY, Registry, job

from tests.runner.work_handlers import mark


def odd_registry() -> Registry:
    """A registry with all of the below."""
    registry = Registry()
    for handler in REGISTRY:
        if handler.function.__module__ == __name__:
            registry.add(handler)
    return registry


class Sly:
    """Says of itself what no one can use."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("it is not told")

    __hash__ = None  # type: ignore[assignment]


def _deep() -> Any:  # noqa: ANN401 - JSON
    value: Any = 1
    for _ in range(199):
        value = [value]
    return value


RESULTS: Final = ("deep", "deeper", "long number")


def result_of(kind: str) -> Any:  # noqa: ANN401 - JSON
    """What can be written, and cannot be read."""
    if kind == "long number":
        return 10**5_000
    return _deep() if kind == "deep" else [[_deep()]]


@job("o_result")
async def odd_result(payload: str, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
    """Returns what can be written, and cannot be read."""
    return result_of(payload)


@job("o_error")
async def odd_error(payload: str, progress: Progress, cancel: CancelToken) -> None:
    """Is left by what takes care."""
    match payload:
        case "long":
            raise BadPayload("x" * 1_000_000, [{"loc": ["y" * 1_000_000], "msg": "z" * 1_000_000}])
        case "control":
            raise ValueError("\0" * 100_000)
        case "surrogates":
            raise ValueError("\ud800")
        case _:
            raise SystemExit(Sly())


@job("o_ends_itself")
async def ends_itself(payload: str, progress: Progress, cancel: CancelToken) -> str:
    """Ends its run by its reporter, as a program of its own does, and goes on."""
    match payload:
        case "complete":
            progress.complete()
        case "fail":
            progress.fail("so be it")
        case "cancel":
            progress.cancel()
        case "close":
            progress.close()
        case _:
            async with progress:
                progress.log("in it")
    progress.log("still here")
    return payload


@job("o_by_reporter")
async def by_reporter(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> None:
    """Looks at its reporter's token, as a program of its own does."""
    mark(payload, f"run {progress.run}")
    await progress.cancellation
    assert progress.cancellation is cancel
    cancel.raise_if_requested()


@job("o_callback")
async def odd_callback(payload: dict[str, Any], progress: Progress, cancel: CancelToken) -> None:
    """Has something called back that ends a thread, or never comes back."""
    for act in (sys.exit, threading.Event().wait if payload["blocks"] else sys.exit):
        cancel.on_request(act)
    mark(payload, f"run {progress.run}")
    await cancel
    cancel.raise_if_requested()


@job("o_forks")
async def forks(payload: str, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
    """Forks, and both come back; what became of the other is the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads
        child = os.fork()
    if not child:
        return _left(payload)
    return (await asyncio.to_thread(os.waitpid, child, 0))[1]


def _left(way: str) -> str:
    if way == "raises":
        raise ValueError(way)
    return way


@job("o_echo")
async def echo(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
    return payload
