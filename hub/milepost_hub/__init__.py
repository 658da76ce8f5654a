"""Fan-out of job progress to browsers: WebSocket, HTTP, tokens. No NATS in here."""

from milepost_hub.close import CloseCode
from milepost_hub.errors import BadCursor, CursorGone, LogUnavailable
from milepost_hub.event import Event
from milepost_hub.grant import Grant
from milepost_hub.hub import Hub
from milepost_hub.job_log import Gap, JobLog, Snapshot
from milepost_hub.keys import KeySource
from milepost_hub.settings import HubSettings
from milepost_hub.token import Verifier, issue
from milepost_hub.upstream import Interest, Upstream

__all__ = [
    "BadCursor",
    "CloseCode",
    "CursorGone",
    "Event",
    "Gap",
    "Grant",
    "Hub",
    "HubSettings",
    "Interest",
    "JobLog",
    "KeySource",
    "LogUnavailable",
    "Snapshot",
    "Upstream",
    "Verifier",
    "issue",
]
