"""One message from NATS: subject, payload and headers in, a decision out.

Tenant and job are the subject's, never the headers': those are the publisher's to write. A payload is parsed
once, and only when somebody watches the job or the tenant's summaries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Set
from typing import Final, NamedTuple

from milepost_reporter.event import Event
from milepost_reporter.jetstream.complaints import Complaints

from milepost_bridge.admission import Admission, Admittance, Admitted, is_leased
from milepost_bridge.place import Place, place_of
from milepost_bridge.settings import BridgeSettings

OUTCOMES: Final = ("received", "passed", "taken", "late", "duplicate", "repeated", "bad_header", "failed")
"""What may become of a message, as keys of `Intake.counts`; an invalid one is `invalid_<reason>`.

`passed`: no event, or of a job nobody watches. `repeated`: brought live after the log had brought it. `bad_header`:
nonsense about its reporter, taken without it.
`failed`: the hub's or our own mishap.
"""


class Taken(NamedTuple):
    """An event that counts. `watched`: it is to be delivered; else it is wanted for the summary alone."""

    tenant: str
    job: str
    admitted: Admitted
    run: int | None
    watched: bool
    leased: bool = False
    """Whether its reporter promises to beat."""

    @property
    def event(self) -> Event:
        """What it says."""
        return self.admitted.event


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
        self._max_jobs = settings.max_jobs
        self._job_memory = settings.job_memory
        self._wants = wants
        self._summarised = summarised
        self._jobs: OrderedDict[tuple[str, str], _Job] = OrderedDict()
        self.counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.admittance = Admittance(settings, self.counts, complaints)

    @property
    def jobs(self) -> int:
        """How many jobs are remembered."""
        return len(self._jobs)

    def place(self, subject: bytes) -> Place | None:
        """Whose message this is; None, told and counted, when it is nobody's."""
        self.counts["received"] += 1
        place = place_of(subject)
        if place is None:
            self.admittance.refuse("subject", subject, "not a subject of ours")
        return place

    def take(self, subject: bytes, payload: bytes, headers: bytes | None) -> Taken | None:
        """What one message says; None when nothing comes of it. `headers` is NATS' header block, unparsed."""
        place = self.place(subject)
        if place is None:
            return None
        tenant, job = place.key
        watched = self._wants(tenant, job)
        if not place.carries_events or not (watched or tenant in self._summarised):
            self.counts["passed"] += 1
            return None
        admitted = self.admittance.admit(self._job(place.key).admission, subject, place.run, payload, headers)
        if admitted is None:
            return None
        self.counts["taken"] += 1
        return Taken(tenant, job, admitted, place.run, watched, is_leased(headers))

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


class _Job:
    """A job that is remembered, and since when nobody has wanted it."""

    __slots__ = ("admission", "unwanted_since")

    def __init__(self) -> None:
        # Nothing is kept, so nothing can be read again in order: what was missed stays missed.
        self.admission = Admission(rising=True)
        self.unwanted_since: float | None = None
