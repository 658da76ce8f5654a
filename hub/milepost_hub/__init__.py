"""Fan-out of job progress to browsers: WebSocket, HTTP, tokens. No NATS in here."""

from milepost_hub.close import CloseCode
from milepost_hub.desk import Desk
from milepost_hub.errors import (
    BadCursor,
    CursorGone,
    DeskUnavailable,
    JobEnded,
    JobUnknown,
    LogUnavailable,
    SubmitRefused,
)
from milepost_hub.event import Event
from milepost_hub.grant import Grant
from milepost_hub.hub import Hub
from milepost_hub.job_log import Gap, JobLog, Snapshot
from milepost_hub.keys import KeySource
from milepost_hub.settings import HubSettings
from milepost_hub.signer import Signer
from milepost_hub.token import Verifier, issue
from milepost_hub.upstream import Interest, Upstream

__all__ = [
    "BadCursor",
    "CloseCode",
    "CursorGone",
    "Desk",
    "DeskUnavailable",
    "Event",
    "Gap",
    "Grant",
    "Hub",
    "HubSettings",
    "Interest",
    "JobEnded",
    "JobLog",
    "JobUnknown",
    "KeySource",
    "LogUnavailable",
    "Signer",
    "Snapshot",
    "SubmitRefused",
    "Upstream",
    "Verifier",
    "issue",
]
