"""What one scenario has shown: sums over its jobs and readers. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.judge import Finding
from chaos.ledger import Ledger, misstored

_HOLES: Final = 3
TRANSPORTS: Final = ("WebSocket", "SSE", "HTTP")


@dataclass
class Verdict:
    """The counts of one scenario, and in words whatever is off."""

    scenario: str
    published: int = 0
    """Events stored that are not late."""
    late: int = 0
    delivered: int = 0
    """Frames with an event, over all readers."""
    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    readers: int = 0
    runs: int = 0
    """Runs that have an end in the log."""
    ends: dict[str, Counter[int]] = field(default_factory=dict)
    """By transport: how often a reader learned of a run's end → how many readers and runs."""
    gaps: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Figures worth telling."""
    decisions: dict[str, Any] = field(default_factory=dict)
    """What chance decided."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is off."""
        counts = self.lost + self.duplicated + self.disordered
        return not counts and not self.problems and all(set(times) == {1} for times in self.ends.values())

    def stored(self, ledger: Ledger, published: int | None) -> None:
        """Enter a job's log and its publisher: `published` numbers from 1, None when it was killed."""
        self.published += len(ledger.live)
        self.late += len(ledger.late)
        self.runs += len(ledger.ends)
        lost, duplicated, disordered = misstored(ledger, published) if ledger.complete else (0, 0, 0)
        self.lost += lost
        self.duplicated += duplicated
        self.disordered += disordered
        for count, word in ((lost, "lost"), (duplicated, "doubled"), (disordered, "misplaced")):
            if count:
                self.problems.append(f"job {ledger.job}: {count} events were {word} on their way into the log")

    def read(self, name: str, transport: str, finding: Finding, ledger: Ledger) -> None:
        """Enter one reader."""
        self.readers += 1
        self.delivered += finding.delivered
        self.lost += finding.lost
        self.duplicated += finding.duplicated
        self.disordered += finding.disordered
        self.gaps += finding.gaps
        self.problems += finding.problems
        if finding.lost or finding.duplicated or finding.disordered:
            counts = f"{finding.lost} lost, {finding.duplicated} double, {finding.disordered} out of order"
            holes = f"; without {', '.join(finding.holes[:_HOLES])}" if finding.holes else ""
            self.problems.append(f"{name}: {counts} of {len(ledger.live)} (it got {finding.delivered}){holes}")
        current = max(ledger.ends, default=None)
        seen = dict(finding.ends)
        if current is not None:
            seen.setdefault(current, 0)
        for times in seen.values():
            self.ends.setdefault(transport, Counter())[times] += 1

    def require(self, holds: object, otherwise: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(otherwise)

    def ends_told(self) -> str:
        """Ends per run as WebSocket / SSE / HTTP readers saw them: `1 / 1 / 1`; a hyphen where nobody read."""
        return " / ".join(_range(self.ends.get(transport)) for transport in TRANSPORTS)

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "scenario": self.scenario,
            "ok": self.ok,
            "published": self.published,
            "late": self.late,
            "delivered": self.delivered,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "outOfOrder": self.disordered,
            "readers": self.readers,
            "runs": self.runs,
            "endsPerRun": {transport: dict(times) for transport, times in self.ends.items()},
            "gaps": dict(self.gaps),
            "problems": self.problems,
            "notes": self.notes,
            "decisions": self.decisions,
            "seconds": round(self.seconds, 2),
        }


def _range(times: Counter[int] | None) -> str:
    if not times:
        return "-"
    least, most = min(times), max(times)
    return str(least) if least == most else f"{least}…{most}"
