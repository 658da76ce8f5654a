"""`milepost demo`: NATS, the hub, and a real job in a process of its own, watched here as anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeVar

import typer

from milepost import duration, errors, hub_url, logs
from milepost.errors import CommandError
from milepost.logs import LogLevel
from milepost.nats_access import NatsAccess
from milepost.verification import Verification

if TYPE_CHECKING:
    from milepost_hub.hub import Hub
    from rich.table import Table

T = TypeVar("T")

_TENANT: Final = "demo"
_EXIT: Final = 3.0
"""Seconds for hub and bridge to end in good order: nobody else's clients are to be sent away gently."""
_LAST_WORDS: Final = 10.0
"""Seconds for a job that was told to stop, and for the end of one that has stopped to arrive."""


class Stage(NamedTuple):
    """Where the demo plays."""

    hub: str
    nats: str
    token: str
    folder: Path


def demo(
    *,
    once: Annotated[
        bool,
        typer.Option(
            "--once/--no-once",
            envvar="MILEPOST_DEMO_ONCE",
            help="Exit when the job has ended, as happens without a terminal anyway.",
        ),
    ] = False,
    host: Annotated[
        str, typer.Option("--host", envvar="MILEPOST_HOST", help="Address the hub listens on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", envvar="MILEPOST_PORT", help="The hub's port; 0 takes a free one.")
    ] = 0,
    secret: Annotated[
        str | None,
        typer.Option("--jwt-secret", envvar="MILEPOST_JWT_SECRET", help="Secret of the tokens; by default a new one."),
    ] = None,
) -> None:
    """Run a real job on an embedded nats-server, and watch it here over the hub's WebSocket.

    Exit codes: 0 the job completed, 1 it did not, 130 Ctrl-C before it had ended.
    """
    from milepost.nats_server import NatsServer, NatsServerError
    from milepost.serve import listen, url_of

    logs.configure(LogLevel.WARNING)
    secret = secret or secrets.token_urlsafe(48)
    token = _token(secret)
    interactive = not once and sys.stdin.isatty() and sys.stdout.isatty()
    with (
        tempfile.TemporaryDirectory(prefix="milepost-demo-") as folder,
        contextlib.ExitStack() as stack,
    ):
        try:
            nats = stack.enter_context(NatsServer())
        except NatsServerError as error:
            raise CommandError(f"the embedded nats-server: {error}") from error
        listener = stack.enter_context(listen(host, port))
        stage = Stage(url_of(listener), nats.url, token, Path(folder))
        from milepost_bridge.settings import BridgeSettings
        from milepost_hub.settings import HubSettings

        from milepost.serve import ServeSettings, composed, loop_factory

        settings = ServeSettings(
            # nobody is left to be sent away gently
            HubSettings(host=host, port=port, drain_seconds=0),
            BridgeSettings(),
            NatsAccess(url=nats.url),
            Verification(jwt_secret=secret),
        )

        async def play() -> int:
            async with composed(settings, listener) as hub:
                await _arrival(hub)
                status = await _play(stage, interactive=interactive)
                _bound_the_exit()
                return status

        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            status = runner.run(play())
    raise typer.Exit(status)


def _bound_the_exit() -> None:
    """Whatever hangs is interrupted, and what is left still ends in order."""
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().call_later(_EXIT, this.cancel)


async def _arrival(hub: Hub) -> None:
    """Wait until the hub has its NATS: what is published before that is seen by nobody."""
    try:
        async with asyncio.timeout(_LAST_WORDS):
            while not hub.up:  # noqa: ASYNC110 - a hub says whether it is up, not when
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise CommandError("the hub cannot reach the embedded nats-server; see the log above") from None


def _token(secret: str) -> str:
    from milepost_hub.token import issue

    try:
        return issue(secret, _TENANT, ttl=12 * 3600, subject="milepost demo", scopes=["watch", "cancel"])
    except ValueError as error:
        raise errors.UsageError(f"--jwt-secret (or MILEPOST_JWT_SECRET): {error}") from error


async def _play(stage: Stage, *, interactive: bool) -> int:
    """One job after another, until there is nobody to ask for the next, or Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    _show_stage(stage)
    job = 1
    status = await _unless(stop, _run_job(stage, str(job)))
    while interactive and status is not None:
        typer.secho("\nStill serving. Enter runs the job again, Ctrl-C ends everything.", dim=True)
        if not await _unless(stop, _enter()):
            return status
        job += 1
        status = await _unless(stop, _run_job(stage, str(job)))
    return errors.INTERRUPTED if status is None else status


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None, with `work` ended, when `stop` comes first."""
    task = asyncio.create_task(work)
    await _either(stop.wait(), task)
    if task.done():
        return task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return None


async def _either(work: Coroutine[Any, Any, Any], task: asyncio.Task[Any]) -> None:
    """Return when one of both is done; `task` is left running, `work` is not."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({working, task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()


async def _enter() -> bool:
    """Wait for a line on the terminal; False when it has gone away."""
    loop = asyncio.get_running_loop()
    typed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return bool(sys.stdin.readline())


async def _run_job(stage: Stage, job: str) -> int:
    from milepost.watch import end_line, follow, output_for
    from milepost.watched_job import WatchedJob

    database = stage.folder / f"names-{job}.sqlite"
    watched = WatchedJob(job)
    subscribed = asyncio.Event()
    began = time.monotonic()
    with output_for(watched) as output:
        watching = asyncio.create_task(
            follow(watched, output, hub_url.websocket_url(stage.hub), stage.token, subscribed=subscribed)
        )
        try:
            await _either(subscribed.wait(), watching)
            async with _job_process(stage, job, database) as process:
                await _either(process.wait(), watching)
            # its end was confirmed by NATS before the process ended, and arrives in a moment
            async with asyncio.timeout(_LAST_WORDS):
                status = await watching
        except TimeoutError:
            raise CommandError(f"the job's process has ended, but not the job:\n{_log(stage, job)}") from None
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    if status != errors.OK:
        raise CommandError(f"{end_line(watched)}; the job's own log:\n{_log(stage, job)}")
    typer.echo(f"\nThe job took {duration.clock(time.monotonic() - began)}; from the database it has filled:\n")
    _show_report(database)
    return status


@contextlib.asynccontextmanager
async def _job_process(stage: Stage, job: str, database: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The job as a process of its own, which has ended when this block has."""
    with _log_file(stage, job).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "milepost.pipeline", "--database", str(database)),
            env=_job_environment(stage, job),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C reaches this process alone, which passes it on once
            start_new_session=True,
        )
    try:
        yield process
        async with asyncio.timeout(_LAST_WORDS):
            await process.wait()
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(_LAST_WORDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _job_environment(stage: Stage, job: str) -> dict[str, str]:
    # whatever the environment says of another NATS, or another job, is not meant for this one
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "MILEPOST_"))}
    # each job has an id of its own, and so its first run
    return {**kept, "NATS_URL": stage.nats, "MILEPOST_TENANT": _TENANT, "MILEPOST_JOB": job, "MILEPOST_RUN": "1"}


def _log_file(stage: Stage, job: str) -> Path:
    return stage.folder / f"job-{job}.log"


def _log(stage: Stage, job: str) -> str:
    """What the job's process has printed."""
    return _log_file(stage, job).read_text(errors="replace").strip() or "(it has printed nothing)"


def _show_stage(stage: Stage) -> None:
    websocket = hub_url.websocket_url(stage.hub)
    typer.echo(
        f"""Milepost serves {stage.hub}, from NATS at {stage.nats}

  In a browser, all jobs:
    {hub_url.dashboard_url(stage.hub, stage.token)}
  The page of the first one:
    {hub_url.dashboard_url(stage.hub, stage.token, "1")}
  The token in it, of tenant {_TENANT}, good for 12 hours:
    export MILEPOST_URL={stage.hub} MILEPOST_TOKEN={stage.token}
  The same job in another terminal, or raw:
    milepost watch 1
    echo '{{"action":"subscribe","jobId":1}}' | websocat -n "{websocket}?token=$MILEPOST_TOKEN"
    nats sub -s {stage.nats} 'tenant.*.job.*.>'
"""
    )


def _show_report(database: Path) -> None:
    from rich.columns import Columns
    from rich.console import Console

    from milepost.pipeline import read_report

    tables = [_table(title, rows) for title, rows in read_report(database).items()]
    Console().print(Columns(tables, padding=(0, 3)))


def _table(title: str, rows: list[tuple[str, int]]) -> Table:
    from rich.table import Table

    # no narrower than its title
    table = Table(title=title, title_justify="left", box=None, show_header=False, min_width=len(title))
    table.add_column(overflow="fold")
    table.add_column(justify="right", style="cyan")
    for text, number in rows:
        table.add_row(text, f"{number:,}")
    return table
