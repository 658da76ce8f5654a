"""`Progress`: what a handler reports with."""

from __future__ import annotations

from milepost_reporter.reporter import Reporter


class Progress(Reporter):
    """The reporter of one run, and a function: `progress(0.5, "half way")`.

    `node`, `track`, `plan`, `log`, `artifact` are as in every job program. The runner tells start, result and end.
    """

    def __call__(self, fraction: float | None = None, message: str | None = None) -> None:
        """How far the job as a whole is, 0..1, and one line for people. What is not given stays as it was."""
        self.report(fraction, message)
