"""`milepost demo`: NATS, the hub, a worker, and a real job, submitted and watched here as anywhere."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeVar

import typer

from milepost import duration, errors, hub_client, hub_url, logs
from milepost.errors import CommandError
from milepost.logs import LogLevel
from milepost.nats_access import NatsAccess
from milepost.nats_server import tied_to_parent
from milepost.verification import Verification

if TYPE_CHECKING:
    from milepost_hub.hub import Hub
    from rich.table import Table

T = TypeVar("T")

_TENANT: Final = "demo"
_EXIT: Final = 3.0
"""Seconds for hub and bridge to end in good order: nobody else's clients are to be sent away gently."""
_LAST_WORDS: Final = 20.0
"""Seconds for the worker to begin, and to end."""
_LOG_LINES: Final = 50
_MODULE: Final = "milepost.demo_jobs"
_HANDLER: Final = "names"


class Stage(NamedTuple):
    """Where the demo plays."""

    hub: str
    nats: str
    token: str
    folder: Path


class Taken(NamedTuple):
    """A submitted job: its id, and the token that is good for it alone."""

    job: str
    token: str


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
    """Submit a real job to a worker on an embedded nats-server, and watch it here over the hub's WebSocket.

    Exit codes: 0 the job completed, 1 it did not, 130 Ctrl-C before it had ended.
    """
    from milepost.nats_server import NatsServer, NatsServerError
    from milepost.service import listen, url_of

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
        from milepost_runner.settings import RunnerSettings

        from milepost.serve import ServeSettings, composed
        from milepost.service import loop_factory

        settings = ServeSettings(
            # nobody is left to be sent away gently
            HubSettings(host=host, port=port, drain_seconds=0),
            BridgeSettings(),
            NatsAccess(url=nats.url),
            Verification(jwt_secret=secret),
            RunnerSettings(),
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
    """Wait until the hub has its NATS, and takes jobs."""
    from milepost.desk import Desk

    try:
        async with asyncio.timeout(_LAST_WORDS):
            # a hub says whether it is up, not when
            while not (hub.up and isinstance(hub.desk, Desk) and hub.desk.open):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise CommandError("the hub cannot reach the embedded nats-server; see the log above") from None


def _token(secret: str) -> str:
    from milepost_hub.token import issue

    try:
        return issue(secret, _TENANT, ttl=12 * 3600, subject="milepost demo", scopes=["watch", "submit", "cancel"])
    except ValueError as error:
        raise errors.UsageError(f"--jwt-secret (or MILEPOST_JWT_SECRET): {error}") from error


async def _play(stage: Stage, *, interactive: bool) -> int:
    """One job after another, until there is nobody to ask for the next, or Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _worker(stage) as worker:
        first = await _unless(stop, _first(stage, worker))
        if first is None:
            return errors.INTERRUPTED
        _show_stage(stage, first.job)
        status = await _unless(stop, _watch_job(stage, worker, first))
        while interactive and status is not None:
            typer.secho(
                "\nStill serving. Enter runs the job again, as does its page; Ctrl-C ends everything.", dim=True
            )
            if not await _unless(stop, _enter()):
                return status
            status = await _unless(stop, _run_job(stage, worker))
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


async def _first(stage: Stage, worker: Worker) -> Taken:
    """The first job, submitted when there is a worker that has told of what it can do."""
    await worker.ready()
    return await _submit(stage)


async def _run_job(stage: Stage, worker: Worker) -> int:
    return await _watch_job(stage, worker, await _submit(stage))


async def _submit(stage: Stage) -> Taken:
    """A job, submitted over HTTP as by anybody."""
    submission = {"name": _HANDLER, "payload": {}}
    told = await asyncio.to_thread(hub_client.ask, "POST", stage.hub, "/api/jobs", stage.token, submission)
    return Taken(str(told["jobId"]), str(told["token"]))


async def _watch_job(stage: Stage, worker: Worker, taken: Taken) -> int:
    """Show a job to its end, with the token that came with it; 0 when it completed, else 1."""
    from milepost.watch import follow, output_for
    from milepost.watched_job import WatchedJob

    watched = WatchedJob(taken.job)
    began = time.monotonic()
    # it is shown as a table below
    with output_for(watched, result=False) as output:
        watching = asyncio.create_task(follow(watched, output, hub_url.websocket_url(stage.hub), taken.token))
        try:
            await _either(worker.ended(), watching)
            if not watching.done():
                raise CommandError(f"the worker has ended, but not the job:\n{worker.log}")
            status = await watching
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    if status == errors.OK:
        typer.echo(f"\nThe job took {duration.clock(time.monotonic() - began)}; its result:\n")
        _show_report(watched.state.snapshot()["result"])
        return errors.OK
    return errors.FAILED


class Worker:
    """A `milepost worker` under way, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, printed: asyncio.StreamReader) -> None:
        self._process = process
        self._lines: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
        self._ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read(printed))

    async def ready(self) -> None:
        """Return when it has told which jobs it runs. CommandError when it never will."""
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await _either(self._ready.wait(), self._reading)
        except TimeoutError:
            """Whatever it has printed says why."""
        if not self._ready.is_set():
            raise CommandError(f"the worker cannot begin:\n{self.log}")

    async def ended(self) -> None:
        """Return when it has ended."""
        await asyncio.shield(self._reading)
        await self._process.wait()

    @property
    def log(self) -> str:
        """The last lines that it has printed."""
        return "\n".join(self._lines) or "(it has printed nothing)"

    async def end(self) -> None:
        """As Ctrl-C ends it: what it runs goes back to the queue."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self.ended()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _read(self, printed: asyncio.StreamReader) -> None:
        while line := await printed.readline():
            self._lines.append(line.decode(errors="replace").rstrip())
            if line.startswith(b"Milepost runs jobs"):
                self._ready.set()


@contextlib.asynccontextmanager
async def _worker(stage: Stage) -> AsyncIterator[Worker]:
    """A worker as a process of its own, which has ended when this block has."""
    command = [sys.executable, "-m", "milepost", "worker", _MODULE, "--executor", "process", "--concurrency", "2"]
    process = await asyncio.create_subprocess_exec(
        *tied_to_parent(command),
        env=_environment(stage),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # Ctrl-C reaches this process alone, which passes it on once
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe, as asked for
    worker = Worker(process, process.stdout)
    try:
        yield worker
    finally:
        await worker.end()


def _environment(stage: Stage) -> dict[str, str]:
    # whatever the environment says of another NATS is not meant for this one
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "MILEPOST_"))}
    # what its jobs put aside goes with the demo
    return {**kept, "NATS_URL": stage.nats, "TMPDIR": str(stage.folder)}


def _show_stage(stage: Stage, job: str) -> None:
    websocket = hub_url.websocket_url(stage.hub)
    # a virtual environment's, as `make demo` has it, is not found by its name in another terminal
    program = "milepost" if shutil.which("milepost") else shlex.quote(str(Path(sys.argv[0]).absolute()))
    typer.echo(
        f"""Milepost serves {stage.hub}, from NATS at {stage.nats}

  In a browser, all jobs:
    {hub_url.dashboard_url(stage.hub, stage.token)}
  The page of the first one, where it is cancelled, and run again:
    {hub_url.dashboard_url(stage.hub, stage.token, job)}
  The token in it, of tenant {_TENANT}, good for 12 hours:
    export MILEPOST_URL={stage.hub} MILEPOST_TOKEN={stage.token}
  The same job in another terminal, another one, or raw:
    {program} watch {job}
    {program} submit {_HANDLER} --wait
    echo '{{"action":"subscribe","jobId":"{job}"}}' | websocat -n "{websocket}?token=$MILEPOST_TOKEN"
    nats sub -s {stage.nats} 'tenant.*.job.*.>'
"""
    )


def _show_report(report: dict[str, list[tuple[str, int]]]) -> None:
    from rich.columns import Columns
    from rich.console import Console

    tables = [_table(title, rows) for title, rows in report.items()]
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
