"""One message from NATS: subject, payload and headers in, a decision out.

Tenant and job are the subject's, never the headers': those are the publisher's to write. A payload is parsed
once, and only when somebody watches the job or the tenant's summaries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Set
from functools import lru_cache
from typing import Final, NamedTuple

from milepost_reporter.event import PROGRESS, BadEvent, Event, parse_event
from milepost_reporter.names import is_name
from milepost_reporter.run import RunGate, Verdict
from milepost_reporter.subject import parse

from milepost_bridge.complaints import Complaints
from milepost_bridge.settings import BridgeSettings

_LONGEST_SUBJECT: Final = len("tenant..job..state.") + 3 * 64
_SUBJECTS_KEPT: Final = 16_384

_REPORTER: Final = b"\r\nMilepost-Reporter:"
_COUNT: Final = b"\r\nMilepost-Count:"
_LONGEST_COUNT: Final = 16

OUTCOMES: Final = ("received", "passed", "taken", "late", "duplicate", "bad_header", "failed")
"""What may become of a message, as keys of `Intake.counts`; an invalid one is `invalid_<reason>`.

`passed`: no event, or of a job nobody watches. `bad_header`: nonsense about its reporter, taken without it.
`failed`: the hub's or our own mishap.
"""


class Taken(NamedTuple):
    """An event that counts. `watched`: it is to be delivered; else it is wanted for the summary alone."""

    tenant: str
    job: str
    event: Event
    run: int | None
    watched: bool

    @property
    def key(self) -> str | None:
        """What it may be conflated by: its node, "" for progress of the whole job, None for what must stay.

        A node's id is typed: 1 and "1" are two nodes.
        """
        if self.event.kind != PROGRESS:
            return None
        node = self.event.nodeId
        if node is None:
            return ""
        return str(node) if isinstance(node, int) else f'"{node}'


class Intake:
    """Decides about messages, and counts what became of them.

    Args:
        settings: the bounds.
        wants: whether somebody watches this job of this tenant.
        summarised: the tenants whose every event is wanted.
        complaints: where invalid messages are told of.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        wants: Callable[[str, str], bool],
        summarised: Set[str],
        complaints: Complaints,
    ) -> None:
        self._max_payload = settings.max_payload
        self._max_jobs = settings.max_jobs
        self._max_reporters = settings.max_reporters
        self._job_memory = settings.job_memory
        self._wants = wants
        self._summarised = summarised
        self._complaints = complaints
        self._jobs: OrderedDict[tuple[str, str], _Job] = OrderedDict()
        self.counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)

    @property
    def jobs(self) -> int:
        """How many jobs are remembered."""
        return len(self._jobs)

    def take(self, subject: bytes, payload: bytes, headers: bytes | None) -> Taken | None:
        """What one message says; None when nothing comes of it. `headers` is NATS' header block, unparsed."""
        counts = self.counts
        counts["received"] += 1
        place = _place(subject) if len(subject) <= _LONGEST_SUBJECT else None
        if place is None:
            self._refuse("subject", subject, "not a subject of ours")
            return None
        tenant, job = place.job
        watched = self._wants(tenant, job)
        if not place.carries_events or not (watched or tenant in self._summarised):
            counts["passed"] += 1
            return None
        event = self._event(place, subject, payload, headers)
        if event is None:
            return None
        counts["taken"] += 1
        return Taken(tenant, job, event, place.run, watched)

    def _event(self, place: _Place, subject: bytes, payload: bytes, headers: bytes | None) -> Event | None:
        """The event of a job that is wanted, unless it was here before, is none, or comes too late."""
        counts = self.counts
        known = self._job(place.job)
        if headers is not None and self._is_duplicate(known, headers):
            counts["duplicate"] += 1
            return None
        try:
            event = parse_event(payload, max_bytes=self._max_payload)
        except BadEvent as bad:
            self._refuse(bad.reason, subject, str(bad))
            return None
        run = place.run
        if run is not None and not event.is_terminal:
            self._refuse("not_an_end", subject, "not a job's end, on a subject for ends")
            return None
        if known.gate.admit(event, run) is Verdict.LATE:
            counts["late"] += 1
            return None
        return event

    def sweep(self, now: float) -> None:
        """Forget the jobs nobody has wanted for a while. `now`: seconds on a clock that never goes back."""
        gone = []
        for key, known in self._jobs.items():
            if key[0] in self._summarised or self._wants(*key):
                known.unwanted_since = None
            elif known.unwanted_since is None:
                known.unwanted_since = now
            elif now - known.unwanted_since >= self._job_memory:
                gone.append(key)
        for key in gone:
            del self._jobs[key]

    def _job(self, key: tuple[str, str]) -> _Job:
        jobs = self._jobs
        known = jobs.get(key)
        if known is None:
            if len(jobs) >= self._max_jobs:
                jobs.popitem(last=False)
            known = jobs[key] = _Job()
        else:
            jobs.move_to_end(key)
        return known

    def _is_duplicate(self, known: _Job, headers: bytes) -> bool:
        """Whether this reporter's event has been here. Headers that make no sense say nothing."""
        reporter, count = _field(headers, _REPORTER), _field(headers, _COUNT)
        if reporter is None and count is None:
            return False
        if not (reporter and _is_reporter(reporter) and count and _is_count(count)):
            self.counts["bad_header"] += 1
            return False
        return known.has_had(reporter, int(count), self._max_reporters)

    def _refuse(self, reason: str, subject: bytes, why: str) -> None:
        name = f"invalid_{reason}"
        self.counts[name] = self.counts.get(name, 0) + 1
        self._complaints.tell(name, f"{subject[:_LONGEST_SUBJECT]!r}: {why!r}")


class _Place(NamedTuple):
    """What a subject says: whose job, whether it carries events, and of an `.end.<run>` the run."""

    job: tuple[str, str]
    carries_events: bool
    run: int | None


class _Job:
    """What tells a job's next event from what has been here or comes too late."""

    __slots__ = ("_last_counts", "gate", "unwanted_since")

    def __init__(self) -> None:
        self.gate = RunGate()
        self.unwanted_since: float | None = None
        # by reporter, the longest silent first; most jobs have none or one
        self._last_counts: dict[bytes, int] | None = None

    def has_had(self, reporter: bytes, count: int, max_reporters: int) -> bool:
        """Whether `reporter` has come as far as `count` before; from now on it has."""
        if self._last_counts is None:
            self._last_counts = {}
        counts = self._last_counts
        last = counts.pop(reporter, 0)
        counts[reporter] = max(count, last)
        if len(counts) > max_reporters:
            del counts[next(iter(counts))]
        return count <= last


@lru_cache(maxsize=_SUBJECTS_KEPT)
def _place(subject: bytes) -> _Place | None:
    try:
        parsed = parse(subject.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if parsed is None:
        return None
    return _Place((parsed.tenant, parsed.job), parsed.leaf in ("progress", "end"), parsed.run)


@lru_cache(maxsize=1024)
def _is_reporter(value: bytes) -> bool:
    return value.isascii() and is_name(value.decode("ascii"))


def _is_count(value: bytes) -> bool:
    return len(value) <= _LONGEST_COUNT and value.isdigit() and value[:1] != b"0"


def _field(headers: bytes, name: bytes) -> bytes | None:
    """The last value of a header: whoever repeats one may have meant to hide the other."""
    at = headers.rfind(name)
    if at < 0:
        return None
    start = at + len(name)
    end = headers.find(b"\r\n", start)
    return headers[start : end if end >= 0 else None].strip()
