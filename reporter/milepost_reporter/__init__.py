"""Report a job's progress over NATS, without ever hurting the job."""

from milepost_reporter.cancel import Cancelled, CancelToken
from milepost_reporter.log_handler import LogHandler
from milepost_reporter.node import Node
from milepost_reporter.progress import Progress, ProgressReporter
from milepost_reporter.reporter import Reporter
from milepost_reporter.settings import Settings
from milepost_reporter.stats import Stats

__all__ = [
    "CancelToken",
    "Cancelled",
    "LogHandler",
    "Node",
    "Progress",
    "ProgressReporter",
    "Reporter",
    "Settings",
    "Stats",
]
