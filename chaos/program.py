"""A job program as users write them, on the real reporter, numbering what it says: `python -m chaos.program SPEC`.

Numbers go into log lines and artifacts, which are never conflated; node progress is beside them. It tells on standard
output when it has reported so many events, and it can die by its own hand, so that a kill belongs to an event's number
and not to a moment.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Final

from milepost_reporter import Reporter
from milepost_reporter.node import Node

_MAX_WAITING: Final = 4_000
"""Events the reporter holds before the program waits for it: what it must not lose it must not flood."""
_STEP: Final = 0.002


@dataclass(frozen=True)
class Spec:
    """What the program does; the same spec says the same events."""

    jobs: list[str] = field(default_factory=lambda: ["job"])
    events: int = 1
    """Numbered events of each job."""
    endless: bool = False
    """As many as are said until a line comes on standard input, however many `events` are."""
    rate: float = 400.0
    """Of these in a second, over all its jobs; 0 is as fast as it goes."""
    seed: int = 0
    padding: int = 0
    """Characters added to each log line."""
    marks: list[int] = field(default_factory=list)
    """Told on standard output when so many are reported."""
    hold_at: int | None = None
    """After so many it waits for a line on standard input."""
    die_at: int | None = None
    """SIGKILL itself after so many reported,"""
    die_when: str = "reported"
    """or when these are `stored`, or when the job has `ended` and nothing waits for it to leave, or is `closed`."""
    ends: bool = True
    """Whether the job ends; otherwise the reporter only closes."""
    run: int = 1
    skew: float = 0.0
    """Seconds by which this program's wall clock is wrong."""

    def as_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


class Teller:
    """One job's part: the plan first, numbered lines, artifacts and progress, a result and an end."""

    def __init__(self, reporter: Reporter, spec: Spec) -> None:
        self.reporter = reporter
        self._padding = "." * spec.padding
        self._random = random.Random(f"{spec.seed}/{reporter.job}")  # noqa: S311 - chance, not secrecy
        self._events = spec.events
        self._nodes: list[Node] = []

    def begin(self) -> None:
        """The job has started."""
        self.reporter.__enter__()
        names = ("read", "sort", "write")
        self.reporter.plan([(name, name.title(), 1 + place) for place, name in enumerate(names)], [("read", "sort")])
        self._nodes = [self.reporter.node(name, name.title(), total=self._events) for name in names]

    def say(self, number: int) -> None:
        """The event of this number, and some progress beside it."""
        if self._random.random() < 0.1:
            self.reporter.artifact(f"part-{number % 50}", f"s3://bucket/#{number}", rows=number)
        else:
            self.reporter.log(f"#{number} {self._padding}", self._random.choice(["info", "warning"]))
        self._random.choice(self._nodes).advance(1)

    def finish(self) -> None:
        """It has done its work."""
        self.reporter.result({"events": self._events})
        self.reporter.complete("done")


def main() -> None:
    """Do as the spec says."""
    spec = Spec(**json.loads(sys.argv[1]))
    if spec.skew:
        from chaos.skewed_clock import skew

        skew(spec.skew)
    run = {"MILEPOST_RUN": str(spec.run)}
    tellers = [
        Teller(Reporter.from_env({**os.environ, **run, "MILEPOST_JOB": job, "MILEPOST_NAME": f"job {job}"}), spec)
        for job in spec.jobs
    ]
    for teller in tellers:
        teller.begin()
    if spec.die_at is not None or spec.die_when != "reported":
        # of a job that dies before anybody has heard of it nothing can be told
        _await_stored(tellers)
    _tell("begun", 0)
    _tell("events", _report(spec, tellers))
    for teller in tellers:
        if spec.ends:
            teller.finish()
    if spec.die_when == "ended":
        _die()
    closed = [teller.reporter.close(timeout=30) for teller in tellers]
    if spec.die_when == "closed":
        _die()
    _tell("closed", all(closed))


def _report(spec: Spec, tellers: list[Teller]) -> int:
    """The number of the last one."""
    marks = set(spec.marks)
    begun = time.monotonic()
    number = 0
    while not _told_to_go_on() if spec.endless else number < spec.events:
        number += 1
        for teller in tellers:
            teller.say(number)
            while teller.reporter.stats.waiting > _MAX_WAITING:
                time.sleep(_STEP)
        if number in marks:
            _tell("mark", number)
        if number == spec.hold_at:
            sys.stdin.readline()
        if number == spec.die_at:
            if spec.die_when == "stored":
                _await_stored(tellers)
            if spec.die_when in {"reported", "stored"}:
                _die()
        if spec.rate:
            ahead = begun + number * len(tellers) / spec.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
    return number


def _told_to_go_on() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


def _await_stored(tellers: list[Teller]) -> None:
    for teller in tellers:
        while (stats := teller.reporter.stats).waiting or stats.confirmed < stats.sent:
            time.sleep(_STEP)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _tell(what: str, value: object) -> None:
    sys.stdout.write(json.dumps({what: value}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
