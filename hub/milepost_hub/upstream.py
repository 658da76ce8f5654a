"""What the hub asks of whoever brings it events: the bridge on NATS, or a program that embeds the hub."""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Protocol

from milepost_hub.job_log import JobLog


class Interest(IntEnum):
    """How much of a tenant the hub's clients watch just now."""

    NONE = 0
    EVENTS = 1
    """Every event of every job somebody watches: ask `Hub.wants` before you parse one."""
    SUMMARIES = 2
    """The same, and a summary of every job of the tenant, given to `Hub.deliver_summary`."""


class Upstream(Protocol):
    """The hub's source of events. All of it is called on the hub's event loop."""

    @property
    def up(self) -> bool:
        """Whether events arrive just now. After a change, call `Hub.upstream_changed`."""
        ...

    @property
    def log(self) -> JobLog | None:
        """The job log behind the events; None while there is none. After a change, call `Hub.upstream_changed`."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why it cannot do all it should, in words, as when a log is wanted and there is none; None when it can."""
        ...

    def interest(self, tenant: str, interest: Interest) -> asyncio.Future[None] | None:
        """Hear that the clients' interest in a tenant has changed. Must not block and must not raise.

        Returns:
            None when the interest is in effect already, else a future that is done once it is: from then on no
            event is missed, and only then is a client told `subscribed`. While the source is down the future is
            done at once (the client is told `upstream: down`). The future carries no error.
        """
        ...

    async def ask(self, tenant: str, job: str, request: bytes) -> bytes:
        """Put a request, a JSON object, to the job's own program; its answer as it came.

        Raises:
            JobSilent: nobody listens there, or it does not answer in time.
            UpstreamDown: it cannot be asked just now.
        """
        ...
