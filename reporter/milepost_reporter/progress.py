# ruff: noqa: N815 - the original interface's own names
"""The original interface: `ProgressReporter`, `Progress`.

What it publishes is the original payload and nothing else: no start, no end, no other fields.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from milepost_reporter.event import ENDS, NODE_STATUSES
from milepost_reporter.payload import BadValueError, number, text
from milepost_reporter.reporter import Reporter, checked_id


class Progress(NamedTuple):
    """One node's progress. `status` is idle, running, completed, failed or cancelled."""

    nodeId: int | str
    nodeName: str
    status: str
    rowCount: int = 0
    message: str = ""


class ProgressReporter:
    """Reports nodes' progress of one job. ValueError when an argument cannot be right."""

    def __init__(
        self,
        nats_url: str,
        tenant_id: str,
        job_id: str | int,
        **settings: Any,  # noqa: ANN401 - every other field of Settings, which checks them
    ) -> None:
        self._reporter: Final = Reporter(nats_url=nats_url, tenant=tenant_id, job=job_id, **settings)

    @property
    def reporter(self) -> Reporter:
        """The reporter beneath, for its `stats`."""
        return self._reporter

    def report_func(self) -> Callable[[Progress], None]:
        """The callable that reports. It never blocks and never raises."""
        return self._report

    def close(self, timeout: float | None = None) -> bool:
        """Send what is left, as `Reporter.close`."""
        return self._reporter.close(timeout)

    def _report(self, progress: Progress) -> None:
        self._reporter.harmless("report", self._put, progress)

    def _put(self, progress: Progress) -> None:
        status = progress.status
        if status not in NODE_STATUSES:
            raise BadValueError(f"{status!r:.40} is no status of a node")
        node = checked_id(progress.nodeId)
        fields = {
            "nodeId": node,
            "nodeName": text("nodeName", progress.nodeName),
            "status": status,
            "rowCount": number("rowCount", progress.rowCount),
            "message": text("message", progress.message),
        }
        self._reporter.progress(node, fields, last=status in ENDS)
