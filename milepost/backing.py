"""What stands behind a hub: the bridge that feeds it, the desk that takes its jobs, the watchdog."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from milepost_bridge.bridge import Bridge
    from milepost_bridge.settings import BridgeSettings
    from milepost_bridge.watchdog import Watchdog
    from milepost_hub.bare_hub import BareHub
    from milepost_runner.settings import RunnerSettings

    from milepost.desk import Desk


class Backing(NamedTuple):
    """The parts, under way."""

    bridge: Bridge
    desk: Desk | None
    """None: the hub takes no jobs."""
    watchdog: Watchdog | None


@contextlib.asynccontextmanager
async def backed(
    hub: BareHub, nats_url: str, bridge: BridgeSettings, runner: RunnerSettings | None, *, watchdog: bool
) -> AsyncIterator[Backing]:
    """A hub fed from NATS and, with settings for the queue, employed, and ended in reverse order. NATS may be away."""
    from milepost_bridge.bridge import Bridge
    from milepost_bridge.watchdog import Watchdog
    from milepost_runner.jobs import Jobs

    from milepost.desk import Desk

    async with Bridge(nats_url, hub, settings=bridge) as feeding, contextlib.AsyncExitStack() as stack:
        desk = None
        if runner is not None:
            desk = Desk(await stack.enter_async_context(Jobs(nats_url, runner)))
            hub.employ(desk)
        watching = await stack.enter_async_context(Watchdog(nats_url, bridge)) if watchdog else None
        yield Backing(feeding, desk, watching)
