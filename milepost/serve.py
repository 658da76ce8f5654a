"""`milepost serve`: the hub, the bridge and the watchdog composed, in one process or several."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer
from milepost_bridge.settings import BridgeSettings
from milepost_hub.settings import HubSettings
from milepost_runner.settings import RunnerSettings
from pydantic import BaseModel

from milepost import logs, nats_access
from milepost.errors import CommandError, UsageError
from milepost.logs import FormatOption, LevelOption, LogFormat, LogLevel
from milepost.nats_access import NatsAccess
from milepost.options import Group, expand
from milepost.service import SIGNALS, announce, listen, loop_factory, url_of
from milepost.verification import Verification

if TYPE_CHECKING:
    from milepost_bridge.bridge import Bridge
    from milepost_bridge.watchdog import Watchdog
    from milepost_hub.hub import Hub

    from milepost.desk import Desk

_COLLECTIONS: Final = (20_000, 20, 20)
"""Allocations until the collector looks: events come and go by thousands a second, and hardly any leave a cycle."""


GROUPS: Final[dict[type[BaseModel], Group]] = {
    HubSettings: Group("Hub"),
    Verification: Group("Tokens"),
    NatsAccess: nats_access.GROUP,
    BridgeSettings: Group("Bridge", prefix="bridge_", without=nats_access.FIELDS),
    RunnerSettings: Group("Jobs", prefix="runner_", without=nats_access.FIELDS),
}


class ServeSettings(NamedTuple):
    """All that one process of the service needs; it can be sent to a spawned one."""

    hub: HubSettings
    bridge: BridgeSettings
    nats: NatsAccess
    verification: Verification
    runner: RunnerSettings | None = None
    """Of the queue that submitted jobs go to; None: none are taken."""
    log_level: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.AUTO
    pages: bool = True
    """Whether the hub serves the dashboard and the browser's client."""
    watchdog: bool = True
    """Whether this process ends the runs of jobs that died: one of a group is enough, more do no harm."""

    @property
    def exit_seconds(self) -> float:
        """The longest that leaving in good order takes: clients sent away, the last bytes written, NATS left."""
        return self.hub.drain_seconds + self.hub.write_wait + self.bridge.connect_timeout


@expand(GROUPS)
def serve(
    *,
    nats: NatsAccess,
    verification: Verification,
    hub: HubSettings,
    bridge: BridgeSettings,
    runner: RunnerSettings,
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded/--no-embedded",
            envvar="MILEPOST_EMBEDDED",
            help="Start a nats-server of our own instead of using --nats, and stop it at the end.",
            rich_help_panel="NATS",
        ),
    ] = False,
    store_dir: Annotated[
        Path | None,
        typer.Option(
            "--store-dir",
            envvar="MILEPOST_STORE_DIR",
            help="Where the embedded nats-server keeps its streams; by default a directory that is removed.",
            rich_help_panel="NATS",
        ),
    ] = None,
    embedded_port: Annotated[
        int,
        typer.Option(
            "--embedded-port",
            envvar="MILEPOST_EMBEDDED_PORT",
            help="The embedded nats-server's port; 0 takes a free one.",
            rich_help_panel="NATS",
        ),
    ] = 4222,
    workers: Annotated[
        int,
        typer.Option("--workers", envvar="MILEPOST_WORKERS", min=1, help="Processes that share the port."),
    ] = 1,
    watchdog: Annotated[
        bool,
        typer.Option(
            "--watchdog/--no-watchdog",
            envvar="MILEPOST_WATCHDOG",
            help="End the runs of jobs whose process died, in one of the workers.",
        ),
    ] = True,
    jobs: Annotated[
        bool,
        typer.Option(
            "--jobs/--no-jobs",
            envvar="MILEPOST_JOBS",
            help="Take jobs that are submitted, for `milepost worker` to run.",
            rich_help_panel="Jobs",
        ),
    ] = True,
    pages: Annotated[
        bool,
        typer.Option(
            "--pages/--no-pages",
            envvar="MILEPOST_PAGES",
            help="Serve the dashboard at / and the browser's client at /client/.",
            rich_help_panel="Hub",
        ),
    ] = True,
    log_level: LevelOption = LogLevel.INFO,
    log_format: FormatOption = LogFormat.AUTO,
) -> None:
    """Serve WebSocket and HTTP: everything NATS carries, to every client that may see it.

    Ctrl-C or SIGTERM ends it in good order: clients are told to come back, over --drain-seconds.
    """
    logs.configure(log_level, log_format)
    # before anything is started, so that a mistake is told and not logged
    verification.key_source()
    if store_dir is not None and not embedded:
        raise UsageError("--store-dir is the embedded nats-server's: give --embedded with it")
    with contextlib.ExitStack() as stack:
        if embedded:
            nats = stack.enter_context(_embedded(store_dir, embedded_port))
        settings = ServeSettings(
            hub,
            nats.given_to(bridge),
            nats,
            verification,
            nats.given_to(runner) if jobs else None,
            log_level,
            log_format,
            pages,
            watchdog,
        )
        listener = stack.enter_context(listen(hub.host, hub.port))
        announcement = _announcement(listener, nats, workers, pages=pages)
        if workers == 1:
            run(settings, listener, ready=lambda: announce(announcement))
        else:
            from milepost.workers import Workers

            Workers(settings, listener, workers).run(ready=lambda: announce(announcement))


@contextlib.contextmanager
def _embedded(store_dir: Path | None, port: int) -> Iterator[NatsAccess]:
    from milepost.nats_server import NatsServer, NatsServerError

    try:
        server = NatsServer(store_dir=store_dir, port=port)
        server.start()
    except NatsServerError as error:
        raise CommandError(f"the embedded nats-server: {error}") from error
    with server:
        yield NatsAccess(url=server.url)


def _announcement(listener: socket.socket, nats: NatsAccess, workers: int, *, pages: bool) -> str:
    several = f", {workers} workers" if workers > 1 else ""
    url = url_of(listener)
    told = f"Milepost serves {url} from NATS at {nats.shown}{several}"
    if not pages:
        return told
    return f"{told}\nThe dashboard is at {url}/ and a link into it: milepost token --link --url {url} --tenant …"


@contextlib.asynccontextmanager
async def composed(settings: ServeSettings, listener: socket.socket) -> AsyncIterator[Hub]:
    """A hub that serves on `listener`, what feeds it and takes its jobs, and the watchdog; ended in reverse order."""
    from milepost_client import PAGES
    from milepost_hub.hub import Hub
    from milepost_hub.token import Verifier

    from milepost.backing import backed

    verification = settings.verification
    async with verification.key_source() as keys:
        verifier = Verifier(
            keys,
            issuer=verification.jwt_issuer,
            audience=verification.jwt_audience,
            leeway=verification.jwt_leeway,
        )
        async with (
            Hub(settings.hub, verifier, listener, PAGES if settings.pages else None, verification.signer()) as hub,
            backed(hub, settings.nats.url, settings.bridge, settings.runner, watchdog=settings.watchdog) as parts,
        ):
            _export(hub, parts.bridge)
            if parts.desk is not None:
                _export_desk(hub, parts.desk)
            if parts.watchdog is not None:
                _export_watchdog(hub, parts.watchdog)
            yield hub


def _export(hub: Hub, bridge: Bridge) -> None:
    """The bridge's counters among the hub's metrics."""
    count, gauge = hub.metrics.count, hub.metrics.gauge
    count("milepost_bridge_messages", "What became of NATS messages.", "outcome", lambda: bridge.counts)
    count(
        "milepost_bridge_log_messages",
        "What became of messages read from the log.",
        "outcome",
        lambda: bridge.log_counts,
    )
    count("milepost_bridge_fills", "Times a job's log was read behind its live path.", None, lambda: bridge.fills)
    count("milepost_bridge_resets", "Times a job could not go on event by event.", None, lambda: bridge.resets)
    gauge("milepost_bridge_connections", "Connections to NATS since the start.", lambda: bridge.connections)


def _export_desk(hub: Hub, desk: Desk) -> None:
    # of several workers the lowest tells whether all of them can
    hub.metrics.gauge("milepost_jobs_open", "Whether jobs can be taken.", lambda: desk.open, lowest=True)


def _export_watchdog(hub: Hub, watchdog: Watchdog) -> None:
    count, gauge = hub.metrics.count, hub.metrics.gauge
    count("milepost_watchdog", "What became of beats and leases.", "outcome", lambda: watchdog.counts)
    gauge("milepost_watchdog_jobs", "Jobs whose beats are waited for.", lambda: watchdog.watched)


def run(settings: ServeSettings, listener: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve in this process until SIGINT or SIGTERM, or until the process that spawned it is gone."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, listener, ready))


async def _serve(settings: ServeSettings, listener: socket.socket, ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # readable once the parent is gone, however it went
        loop.add_reader(parent.sentinel, stop.set)
    async with composed(settings, listener):
        # What is loaded by now stays: a full collection need not go through it again while clients wait.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTIONS)
        ready()
        await stop.wait()
        if this is not None:
            # whatever hangs is interrupted, and what is left still ends in order
            loop.call_later(settings.exit_seconds, this.cancel)
