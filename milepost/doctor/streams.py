"""What Milepost keeps in JetStream: the job log, and the runner's queue and store. Nothing is made or changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from milepost.doctor.finding import Finding, fail
from milepost.doctor.log import examine_log
from milepost.doctor.patience import PATIENCE
from milepost.doctor.queue import examine_queue
from milepost.nats_access import NatsAccess

if TYPE_CHECKING:
    from milepost_reporter.jetstream.api import Api


async def examine_streams(access: NatsAccess) -> list[Finding]:
    """They are there, as they should be, and can be read; and jobs that wait have somebody who runs them."""
    from milepost_bridge.settings import BridgeSettings
    from milepost_reporter.jetstream.access import servers
    from milepost_reporter.jetstream.api import Api
    from milepost_reporter.jetstream.complaints import Complaints

    settings = BridgeSettings(**access.model_dump(exclude={"url"}, exclude_none=True), request_timeout=PATIENCE)
    try:
        urls = servers(access.url)
    except ValueError as error:
        return [fail("job log", str(error), "write NATS_URL (--nats) so: `milepost serve` takes no other")]
    connected = asyncio.Event()
    api = Api(urls, settings, connected.set, Complaints(logging.getLogger(__name__)))
    api.start()
    try:
        return [
            *await _told("job log", _after(connected, examine_log, api), "until then progress is live only"),
            *await _told("job queue", _after(connected, examine_queue, api), "until then no job can be submitted"),
        ]
    finally:
        await api.close()


async def _after(
    connected: asyncio.Event, examine: Callable[[Api], Awaitable[list[Finding]]], api: Api
) -> list[Finding]:
    async with asyncio.timeout(PATIENCE):
        await connected.wait()
    return await examine(api)


async def _told(what: str, examined: Awaitable[list[Finding]], unfit: str) -> list[Finding]:
    """What was found, or why nothing could be."""
    from milepost_reporter.jetstream.errors import JetStreamError, StreamUnfit

    try:
        return await examined
    except StreamUnfit as error:
        return [fail(what, str(error), unfit)]
    except (JetStreamError, TimeoutError) as error:
        advice = "is nats-server busy, or its cluster without a leader? Its log says more"
        return [fail(what, f"cannot be read ({error or 'no answer in time'})", advice)]
