"""A job as one who watches it knows it: the hub's messages in, what there is to show out. Does no I/O."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

from milepost_reporter.event import LOG, BadEvent, Event, parse_event
from milepost_reporter.run import Verdict
from milepost_reporter.state import JobState

from milepost.rate import Rate

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


class Link(Enum):
    """How the watcher stands with the hub."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"


@dataclass(slots=True)
class Node:
    """One step of the job, ready to be shown."""

    id: int | str
    name: str
    status: str = "idle"
    count: float | None = None
    total: float | None = None
    unit: str = ""
    fraction: float | None = None
    message: str = ""
    rate: float | None = None
    """Units a second."""
    left: float | None = None
    """Seconds until it is done, at this rate."""


@dataclass(slots=True)
class News:
    """What one message told that is worth a line of its own."""

    lines: list[str] = field(default_factory=list)
    changed: list[int | str] = field(default_factory=list)
    """Nodes whose status has changed, or that are new."""
    ended: bool = False
    """The job has ended for good: another run does not follow by itself."""


class WatchedJob:
    """State, rates and connection of one watched job. Times are a monotonic clock's seconds, but for `at`."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.state = JobState(job)
        self.link = Link.CONNECTING
        self.upstream = "up"
        self.durable: bool | None = None
        self._rates: dict[int | str | None, Rate] = {}
        self._statuses: dict[int | str, str] = {}
        self._run = self.state.run

    def take(self, message: dict[str, Any], now: float, at: datetime) -> News:
        """One message of the hub, received at `now`, which a calendar calls `at`."""
        match message.get("type"):
            case "job.progress":
                return self._progress(message, now, at)
            case "job.snapshot":
                return self._snapshot(message.get("snapshot"), now)
            case "subscribed":
                self.durable = bool(message.get("durable"))
                return self._upstream(message.get("upstream", "up"))
            case "upstream":
                return self._upstream(message.get("status"))
        return News(_told(message))

    def _upstream(self, status: object) -> News:
        before, self.upstream = self.upstream, "up" if status == "up" else "down"
        if self.upstream == before:
            return News()
        said = "is back" if self.upstream == "up" else "is away: nothing arrives until it is back"
        return News([f"the hub's NATS {said}"])

    def _snapshot(self, snapshot: Any, now: float) -> News:  # noqa: ANN401 - whatever the hub sent
        """What the job amounts to by now, in place of whatever was known."""
        try:
            state = JobState.of_snapshot(self.job, snapshot)
        except ValueError:
            # what a newer hub may say is not ours to judge
            return News()
        self.state, self._run = state, state.run
        self._rates.clear()
        statuses = {node["nodeId"]: str(node.get("status")) for node in snapshot["nodes"]}
        changed = [node for node, status in statuses.items() if self._statuses.get(node) != status]
        self._statuses = statuses
        return News(changed=changed, ended=state.ended and not state.will_retry)

    def _progress(self, message: dict[str, Any], now: float, at: datetime) -> News:
        try:
            event = parse_event(json.dumps(message.get("payload")).encode())
        except BadEvent:
            # what a newer hub may pass on is not ours to judge
            return News()
        verdict = self.state.apply(event, _stored(message) or at)
        if verdict is Verdict.LATE:
            return News()
        if self.state.run != self._run:
            self._run = self.state.run
            self._rates.clear()
            self._statuses.clear()
        self._measure(event, now)
        news = News(ended=verdict is Verdict.END and not event.willRetry)
        if event.kind == LOG:
            level = str((event.data or {}).get("level") or "info")
            news.lines.append(f"{plain(level)}: {plain(event.message or '')}")
        elif event.kind == "artifact":
            news.lines.append(f"artifact: {plain(event.data['name'])} {plain(event.data['uri'])}")
        if event.nodeId is not None and event.status not in (None, self._statuses.get(event.nodeId)):
            self._statuses[event.nodeId] = str(event.status)
            news.changed.append(event.nodeId)
        return news

    def _measure(self, event: Event, now: float) -> None:
        if event.nodeId is not None and event.kind == "progress":
            count = event.rowCount if event.rowCount is not None else event.fraction
            if count is not None:
                self._rates.setdefault(event.nodeId, Rate()).add(now, count)
        fraction = self.state.summary()["fraction"]
        if fraction is not None:
            self._rates.setdefault(None, Rate()).add(now, fraction)

    @property
    def name(self) -> str:
        """The job's own name, or its id."""
        return plain(self.state.summary()["name"] or f"job {self.job}")

    @property
    def error(self) -> str:
        """What the latest run failed with, in one line; nothing when it did not."""
        return plain(str((self.state.snapshot()["error"] or {}).get("message") or ""))

    @property
    def result(self) -> str:
        """What the latest run has returned, as JSON in one line; nothing when it returned nothing."""
        result = self.state.snapshot()["result"]
        return "" if result is None else json.dumps(result, ensure_ascii=False)

    @property
    def outcome(self) -> str:
        """How the latest run ended, for people: its error if it had one."""
        return f"{self.name}: {self.state.status}" + (f": {self.error}" if self.error else "")

    def fraction_left(self, now: float) -> tuple[float | None, float | None]:
        """How much of the job is done, from 0 to 1, and the seconds left; None for what is not known."""
        fraction = self.state.summary()["fraction"]
        rate = self._rates.get(None)
        running = rate is not None and not self.state.ended
        return fraction, rate.seconds_left(now, 1.0) if rate and running else None

    def nodes(self, now: float) -> list[Node]:
        """The job's nodes: those of its plan in the plan's order, then the others as they came."""
        snapshot = self.state.snapshot()
        known = {node["nodeId"]: node for node in snapshot["nodes"]}
        planned = (snapshot["plan"] or {}).get("nodes", [])
        order = [node["nodeId"] for node in planned]
        names = {node["nodeId"]: node.get("nodeName") for node in planned}
        order += [node_id for node_id in known if node_id not in names]
        return [self._node(node_id, known.get(node_id, {}), names.get(node_id), now) for node_id in order]

    def _node(self, node_id: int | str, told: dict[str, Any], planned: str | None, now: float) -> Node:
        node = Node(
            id=node_id,
            name=plain(str(told.get("nodeName") or planned or node_id)),
            status=told.get("status") or ("running" if told else "idle"),
            count=told.get("rowCount"),
            total=told.get("total"),
            unit=plain(told.get("unit") or ""),
            fraction=told.get("fraction"),
            message=plain(told.get("message") or ""),
        )
        rate = self._rates.get(node_id)
        if node.status == "running" and rate is not None:
            counted = node.count is not None
            node.rate = rate.per_second(now) if counted else None
            node.left = rate.seconds_left(now, node.total if counted else 1.0)
        return node


def _told(message: dict[str, Any]) -> list[str]:
    """What a message says that has no part in the job's state."""
    match message.get("type"):
        case "job.gap":
            return [f"some events cannot be had any more ({plain(str(message.get('reason')))})"]
        case "error":
            return [f"the hub says: {plain(str(message.get('message')))}"]
        case "token.expiring":
            return ["the token expires soon"]
    return []


def plain(text: str) -> str:
    """`text` as it may go to a terminal: a job must not be able to move the cursor or ring the bell."""
    return _CONTROL.sub(" ", text)


def _stored(message: dict[str, Any]) -> datetime | None:
    try:
        at = datetime.fromisoformat(message["at"])
    except (KeyError, TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else None
