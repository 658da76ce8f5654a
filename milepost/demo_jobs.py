"""The demo's handlers: what `milepost worker milepost.demo_jobs` runs."""

from __future__ import annotations

from milepost_reporter.cancel import CancelToken
from milepost_runner.progress import Progress
from milepost_runner.registry import job
from pydantic import BaseModel, ConfigDict, Field

from milepost import pipeline


class Names(BaseModel):
    """What is counted. It names no files: whoever may submit must not choose what a worker reads and writes."""

    model_config = ConfigDict(extra="forbid")

    files: int | None = Field(default=None, ge=1)
    """So many files of the standard library, at most."""


@job("names")
def names(payload: Names, progress: Progress, cancel: CancelToken) -> pipeline.Report:
    """The names in the standard library; the report is the job's result."""
    return pipeline.run(progress, pipeline.library(), None, cancel=cancel, most=payload.files)
