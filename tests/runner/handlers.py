"""Handlers for the executors' tests; a module that job processes import."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from milepost_reporter.cancel import Cancelled, CancelToken
from milepost_runner.handler import Handler
from milepost_runner.progress import Progress
from milepost_runner.registry import REGISTRY, job
from pydantic import BaseModel


def handler(name: str) -> Handler:
    """One of the below."""
    found = REGISTRY.get(name)
    assert found is not None, name
    return found


@dataclass
class Rows:
    """A result that is no JSON by itself."""

    count: int
    at: datetime


class Order(BaseModel):
    """A payload with a model."""

    rows: int


@job("x_echo")
def echo(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
    return payload


@job("x_echo_async")
async def echo_async(payload: Any, progress: Progress, cancel: CancelToken) -> Any:  # noqa: ANN401
    await asyncio.sleep(0)
    return payload


@job("x_rows")
def rows(payload: Order, progress: Progress, cancel: CancelToken) -> Rows:
    return Rows(payload.rows, datetime(2024, 2, 29, 12, tzinfo=UTC))


@job("x_large")
def large(payload: int, progress: Progress, cancel: CancelToken) -> str:
    return "x" * payload


@job("x_object")
def no_json(payload: Any, progress: Progress, cancel: CancelToken) -> object:  # noqa: ANN401
    return object()


@job("x_raise")
def raise_it(payload: str, progress: Progress, cancel: CancelToken) -> None:
    """The exception named by the payload; `exit:3` is SystemExit(3)."""
    kind, _, value = payload.partition(":")
    if kind == "exit":
        raise SystemExit(int(value) if value else None)
    raise {
        "value": ValueError("not that"),
        "cancelled": Cancelled("I stop"),
        "asyncio": asyncio.CancelledError(),
        "interrupt": KeyboardInterrupt(),
    }[kind]


@job("x_raise_told")
def raise_when_told(payload: str, progress: Progress, cancel: CancelToken) -> None:
    """The same, once it has been told to stop."""
    progress.log("running")
    cancel.wait()
    raise_it(payload, progress, cancel)


@job("x_wait")
def wait(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    """Stops when told, and says why."""
    progress.log("running")
    cancel.wait()
    progress.log(f"told: {cancel.reason}")
    cancel.raise_if_requested()


@job("x_wait_async")
async def wait_async(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    progress.log("running")
    await cancel
    progress.log(f"told: {cancel.reason}")
    cancel.raise_if_requested()


@job("x_sleep_async")
async def sleep_async(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    """Does not look at its token, but can be cancelled."""
    progress.log("running")
    await asyncio.sleep(3600)


@job("x_deaf_async")
async def deaf_async(payload: Any, progress: Progress, cancel: CancelToken) -> str:  # noqa: ANN401
    """Goes on when it is cancelled, until it is told to stop."""
    progress.log("running")
    while not cancel.requested:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
    return "late"


@job("x_deaf")
def deaf(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    progress.node("step", "Step")
    progress.log("running")
    while True:
        pass


@job("x_steps")
def steps(payload: int, progress: Progress, cancel: CancelToken) -> str:
    """Reports of every kind, in order."""
    progress.plan(["load"])
    with progress.node("load", total=payload) as node:
        for number in range(payload):
            progress.log(f"{number}")
            node.advance()
    progress(0.5, "half way")
    progress.artifact("table", "s3://bucket/table")
    progress.node("left")
    return "done"


def leave_family(*, busy: bool = True) -> None:
    """Children that do not listen: with children, in sessions of their own, double-forked; busy: and ever new ones."""
    deaf = "trap '' TERM HUP INT; sleep 3600 & wait"
    subprocess.Popen(["sh", "-c", deaf])  # noqa: S607
    subprocess.Popen(["setsid", "sh", "-c", deaf])  # noqa: S607
    double = f"import os, subprocess; os.fork() and os._exit(0); os.setsid(); subprocess.run(['sh', '-c', {deaf!r}])"
    subprocess.run([sys.executable, "-c", double], check=True)
    if busy:
        subprocess.Popen(["sh", "-c", "while :; do sleep 0.01; done"])  # noqa: S607
    if os.fork() == 0:
        os.setsid()
        while True:
            time.sleep(3600)


@job("x_family")
def family(payload: str, progress: Progress, cancel: CancelToken) -> None:
    """Leaves children behind, and ends as it is told: deaf, quiet (deaf too), return, exit, kill or segfault."""
    leave_family(busy=payload != "quiet")
    progress.node("step")
    progress.log("running")
    if payload == "exit":
        os._exit(7)
    if payload == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    while payload in {"deaf", "quiet"}:
        pass


@job("x_pid")
def pid(payload: Any, progress: Progress, cancel: CancelToken) -> list[int]:  # noqa: ANN401
    """The process, its session, and its parent."""
    return [os.getpid(), os.getsid(0), os.getppid()]


@job("x_returns_twice")
def returns_twice(payload: Any, progress: Progress, cancel: CancelToken) -> str:  # noqa: ANN401
    """Forks, and both come back."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return "parent" if child else "child"


@job("x_holds_gil")
def holds_gil(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    """A C call in which no thread of this process can run."""
    leave_family()
    progress.log("running")
    time.sleep(0.2)  # until the line above is in the pipe
    ctypes.PyDLL(None).sleep(3600)


@job("x_print")
def print_it(payload: Any, progress: Progress, cancel: CancelToken) -> None:  # noqa: ANN401
    sys.stdout.write(f"{payload}\n")
