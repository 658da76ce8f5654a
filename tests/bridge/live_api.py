"""An `Api` that is connected, for the time of a test."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from milepost_bridge.settings import BridgeSettings
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints

from tests.waiting import eventually_async

LOGGER = logging.getLogger("milepost_bridge")
IMPATIENT = {"ping_interval": 0.2, "connect_timeout": 0.5, "reconnect_wait": 0.05, "reconnect_wait_max": 0.2}


@contextlib.asynccontextmanager
async def live_api(url: str, **settings: object) -> AsyncIterator[Api]:
    api = Api([url], BridgeSettings.model_validate(settings), lambda: None, Complaints(LOGGER))
    api.start()
    try:
        await eventually_async(lambda: api.up)
        yield api
    finally:
        await api.close()
