"""`milepost worker`: runs submitted jobs, whose handlers are in the modules that it is given."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from milepost_runner.settings import RunnerSettings, WorkerSettings
from pydantic import BaseModel

from milepost import logs, nats_access
from milepost.errors import UsageError
from milepost.logs import FormatOption, LevelOption, LogFormat, LogLevel
from milepost.nats_access import NatsAccess
from milepost.options import Group, expand
from milepost.service import SIGNALS, announce, listen, loop_factory

if TYPE_CHECKING:
    import socket

    from milepost_runner.worker import Worker

logger = logging.getLogger(__name__)

_EXIT: Final = 3.0
"""Seconds that what handlers have left behind may hold up the exit."""

GROUPS: Final[dict[type[BaseModel], Group]] = {
    NatsAccess: nats_access.GROUP,
    RunnerSettings: Group("Jobs", prefix="runner_", without=nats_access.FIELDS),
    WorkerSettings: Group("Worker", variables="worker_", without=frozenset(RunnerSettings.model_fields)),
}


@expand(GROUPS)
def worker(
    *,
    modules: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE...",
            help="Modules with handlers, as app.jobs; those of the working directory are found too.",
            envvar="MILEPOST_WORKER_MODULES",
        ),
    ],
    nats: NatsAccess,
    runner: RunnerSettings,
    own: WorkerSettings,
    tenant: Annotated[
        str | None,
        typer.Option(
            "--tenant",
            envvar="MILEPOST_TENANT",
            help="Run this tenant's jobs only, with the tenant's own user at NATS; without it everybody's.",
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port",
            envvar="MILEPOST_WORKER_HEALTH_PORT",
            min=0,
            max=65_535,
            help="Answer /healthz, /readyz and /metrics on this port; 0 takes a free one. Without it: none of them.",
        ),
    ] = None,
    health_host: Annotated[
        str,
        typer.Option(
            "--health-host", envvar="MILEPOST_WORKER_HEALTH_HOST", help="Address that --health-port is opened on."
        ),
    ] = "127.0.0.1",
    log_level: LevelOption = LogLevel.INFO,
    log_format: FormatOption = LogFormat.AUTO,
) -> None:
    """Run submitted jobs: everything that the modules have a handler for.

    SIGTERM lets running jobs end for --drain seconds, Ctrl-C does not; what is left goes back to the queue.
    """
    from milepost_runner.registry import REGISTRY
    from milepost_runner.worker import Worker

    logs.configure(log_level, log_format)
    settings = _merged(nats, runner, own)
    load_handlers(modules)
    try:
        made = Worker(nats.url, settings, registry=REGISTRY, modules=modules, tenant=tenant)
    except ValueError as error:
        raise UsageError(str(error)) from error
    for handler in REGISTRY:
        logger.info("handler %s of %s, from queue %s", handler.name, handler.function.__module__, handler.queue)
    with contextlib.ExitStack() as stack:
        health = None
        if health_port is not None:
            health = stack.enter_context(listen(health_host, health_port, options="--health-"))
        with asyncio.Runner(loop_factory=loop_factory()) as loops:
            _run(loops.get_loop(), _work(made, nats.shown, health))
            _bound_the_exit()


def _merged(nats: NatsAccess, runner: RunnerSettings, own: WorkerSettings) -> WorkerSettings:
    """All of a worker's settings in one. UsageError when the credentials cannot be used."""
    shared = runner.model_dump(exclude_unset=True)
    return nats.given_to(WorkerSettings(**shared, **own.model_dump(exclude_unset=True)))


def load_handlers(modules: list[str]) -> None:
    """Import the modules. UsageError, in one line, when one of them cannot be, or no handler comes of it."""
    from milepost_runner.registry import REGISTRY, load

    for module in modules:
        if module.endswith(".py") or "/" in module:
            name = module.removesuffix(".py").removeprefix("./").strip("/").replace("/", ".")
            raise UsageError(f"{module} is a file: give the module's name, as {name}")
        try:
            load([module])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module that exits is no better than one that fails
            raise UsageError(f"{module} cannot be imported: {_why(error)}") from error
    if not REGISTRY:
        places = ", ".join(modules)
        raise UsageError(f'there is no handler in {places}: put @job("a-name") of milepost_runner above a function')


def _why(error: BaseException) -> str:
    """The error in one line, with the place in the user's own code that it came from."""
    told = " ".join(traceback.format_exception_only(error)[-1].split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    # The first are this command's own, and the runner's.
    theirs = frames[2:]
    return f"{told} ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else told


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """To its end, whatever comes out of the loop: what a handler's own task is left by, `sys.exit`, ends only that."""
    task = loop.create_task(work)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            logger.warning("%r left a task that a handler has begun: the worker goes on", error)


def _bound_the_exit() -> None:
    """All is said and done: tasks that do not let themselves be cancelled, and threads without an end, are left."""
    timer = threading.Timer(_EXIT, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    logger.warning("tasks or threads that handlers have begun do not end: they are ended with the worker")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)


async def _work(worker: Worker, nats: str, health: socket.socket | None) -> None:
    """Run jobs until SIGINT or SIGTERM."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, signals.put_nowait, number)
    async with contextlib.AsyncExitStack() as stack:
        if health is not None:
            from milepost.worker_health import answering

            await stack.enter_async_context(answering(worker, health))
        # not by `async with`, which knows one way to leave only
        await worker.__aenter__()
        telling = loop.create_task(_tell_ready(worker, nats))
        came = await signals.get()
        telling.cancel()
        if came is signal.SIGINT or not await _drained(worker, signals):
            logger.info("ending at once: what runs goes back to the queue")
            await worker.drain(0)


async def _tell_ready(worker: Worker, nats: str) -> None:
    await worker.ready()
    # What is loaded by now stays: a full collection need not go through it again while jobs wait.
    gc.collect()
    gc.freeze()
    announce(f"Milepost runs jobs from NATS at {nats}")


async def _drained(worker: Worker, signals: asyncio.Queue[signal.Signals]) -> bool:
    """Leave when running jobs have ended, or their time is over; False when SIGINT came, and nobody is to wait."""
    logger.info("draining: no more work is taken, what runs may go on for %g s", worker.settings.drain)
    draining = asyncio.create_task(worker.drain(worker.settings.drain))
    hurry = asyncio.create_task(_sigint(signals))
    await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if draining.done():
        await draining
        return True
    draining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await draining
    return False


async def _sigint(signals: asyncio.Queue[signal.Signals]) -> None:
    while await signals.get() is not signal.SIGINT:
        """SIGTERM again changes nothing."""
