"""The reducer: a job's events in, its state out.

Source: protocol, *Snapshot*. `tests/reporter/cases/*.json` holds events and the state they amount to, for
this reducer and for those in other languages.

How fields come about:

- `status` is the last `job` event's. An event of another kind makes an unknown job `running`.
- `fraction` is the last one given for the job (or its rowCount/total). Without one, a plan's nodes are
  weighed. A completed job's is 1.
- A node keeps the latest of each field its events gave. Its fraction is the one given, or rowCount/total.
- A node's `startedAt` is its first event's that does not say `idle`; its `endedAt` that of its end, until it goes on.
- An artifact replaces the one of the same name.
- A new run starts from nothing but the job's name.
- `lastEventAt` is the latest time, so that what a record has counted ahead of the log does not take it back.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final, Self

from pydantic import TypeAdapter

from milepost_reporter.event import (
    ARTIFACT,
    ENDS,
    JOB,
    JOB_STATUSES,
    LOG,
    PLAN,
    PROGRESS,
    RESULT,
    Event,
    PlanData,
)
from milepost_reporter.kept import Kept
from milepost_reporter.names import json_job_id
from milepost_reporter.run import RunGate, Verdict

LOG_TAIL: Final = 200
"""Log lines kept."""

MAX_ARTIFACTS: Final = 1_000
MAX_NODES: Final = 5_000
"""Nodes and artifacts kept; beyond, the oldest go."""

MAX_KEPT: Final = 1024 * 1024
"""Bytes kept of all nodes' texts, of all artifacts as JSON, and of all log lines' texts, each; likewise."""

MAX_SNAPSHOT: Final = 256 * 1024
"""Bytes of a snapshot, and of a record, as JSON."""

_ENVELOPE: Final = 1_024
"""Bytes that a record needs beside its parts."""

_NUMBER: Final = (int, float, NoneType)
_TEXT: Final = (str, NoneType)
_SNAPSHOT: Final[dict[str, type | tuple[type, ...]]] = {
    "name": _TEXT,
    "status": str,
    "run": int,
    "fraction": _NUMBER,
    "message": _TEXT,
    "nodes": list,
    "artifacts": list,
    "logTail": list,
    "error": (dict, NoneType),
    "willRetry": bool,
    "truncated": list,
}
_NODE: Final[dict[str, type | tuple[type, ...]]] = {
    "nodeId": (int, str),
    "nodeName": _TEXT,
    "status": _TEXT,
    "rowCount": _NUMBER,
    "total": _NUMBER,
    "unit": _TEXT,
    "fraction": _NUMBER,
    "message": _TEXT,
    "error": (dict, NoneType),
}
_NODE_TIMES: Final = ("at", "startedAt", "endedAt")
_PLAN_DATA: Final = TypeAdapter(PlanData | None)

_NODE_FIELDS: Final = ("nodeName", "status", "rowCount", "total", "unit", "message")
_GIVES_WAY: Final = ("logTail", "artifacts", "plan", "result", "nodes")
"""What a snapshot leaves out when it is too large, first the first."""

_LISTS: Final = ("logTail", "artifacts", "nodes")

_PLAN_WEIGHT: Final = 1.0


def rfc3339(at: datetime) -> str:
    """`at` as the wire has it: UTC, milliseconds, `Z`."""
    try:
        utc = at.astimezone(UTC)
    except OverflowError:  # an offset that leads out of the years 1 to 9999
        utc = at.replace(tzinfo=UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JobState:
    """What one job's events amount to. Late events never change it."""

    __slots__ = (
        "_artifacts",
        "_at",
        "_ended_at",
        "_error",
        "_fraction",
        "_gate",
        "_lines",
        "_log_tail",
        "_message",
        "_name",
        "_nodes",
        "_plan",
        "_queued_at",
        "_result",
        "_started_at",
        "_status",
        "_truncated",
        "_will_retry",
        "job",
    )

    def __init__(self, job: str) -> None:
        self.job = job
        self._gate = RunGate()
        self._name: str | None = None
        self._at: datetime | None = None
        self._begin()

    def _begin(self) -> None:
        """A run's state before its first event."""
        self._status = "unknown"
        self._fraction: float | None = None
        self._message: str | None = None
        self._nodes: Kept[int | str] = Kept(MAX_NODES, MAX_KEPT)
        self._plan: dict[str, Any] | None = None
        self._artifacts: Kept[str] = Kept(MAX_ARTIFACTS, MAX_KEPT)
        self._log_tail: Kept[int] = Kept(LOG_TAIL, MAX_KEPT)
        # Log lines so far: each has its number for a key.
        self._lines = 0
        self._result: Any = None
        self._error: dict[str, Any] | None = None
        self._queued_at: datetime | None = None
        self._started_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._will_retry = False
        # What had given way in the records that this state was restored from.
        self._truncated: list[str] = []

    @classmethod
    def restored(cls, job: str, run: int, parts: Mapping[str, Any]) -> Self:
        """The state that `parts()` told of, ready for the events after it.

        Times are `datetime`, those of nodes too; artifacts and log lines as the wire has it.
        """
        state = cls(job)
        state._gate.run = run
        state._gate.ended = parts["status"] in ENDS
        state._at = parts["lastEventAt"]
        state._name = parts["name"]
        state._status = parts["status"]
        state._fraction = parts["fraction"]
        state._message = parts["message"]
        for node in parts["nodes"]:
            state._nodes.put(node["nodeId"], node, _texts(node))
        state._plan = parts["plan"]
        for artifact in parts["artifacts"]:
            state._artifacts.put(artifact["name"], artifact, _size(artifact))
        for line in parts["logTail"]:
            state._add_line(line)
        state._result = parts["result"]
        state._error = parts["error"]
        state._queued_at = parts["queuedAt"]
        state._started_at = parts["startedAt"]
        state._ended_at = parts["endedAt"]
        state._will_retry = parts["willRetry"]
        state._truncated = parts["truncated"]
        return state

    @classmethod
    def of_snapshot(cls, job: str, snapshot: Mapping[str, Any]) -> Self:
        """The state that a snapshot tells of, ready for the events behind its cursor. ValueError when it is none.

        A snapshot does not say whether its fraction was given or came of the plan: one that the plan explains is the
        plan's, and goes on with it.
        """
        try:
            times = ("lastEventAt", "queuedAt", "startedAt", "endedAt")
            parts = {"willRetry": False, "truncated": [], **snapshot, **{name: _read(snapshot[name]) for name in times}}
            parts["nodes"] = [_with_times(node, _read) for node in snapshot["nodes"]]
            _check(parts)
            state = cls.restored(job, snapshot["run"], parts)
            state._fraction = None
            if (planned := state._job_fraction()) is None or planned != parts["fraction"]:
                state._fraction = parts["fraction"]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"no snapshot of a job: {error!r:.100}") from error
        return state

    @property
    def name(self) -> str | None:
        """The job's name, for people."""
        return self._name

    @property
    def run(self) -> int:
        """The current run."""
        return self._gate.run

    @property
    def status(self) -> str:
        """The job's status; `unknown` before its first event."""
        return self._status

    @property
    def ended(self) -> bool:
        """Whether the current run has had its end."""
        return self._gate.ended

    @property
    def gate(self) -> RunGate:
        """The rule of runs and ends, as far as this job has come: for whoever reads a log in another order."""
        return self._gate

    def heard(self, at: datetime) -> None:
        """The last event that is in here was stored at this time, whatever its reporter's clock said."""
        self._at = at

    @property
    def will_retry(self) -> bool:
        """Whether the current run's end said that another run follows."""
        return self._will_retry

    @property
    def last_event_at(self) -> datetime | None:
        """The latest time at which an event that was not late was stored or received."""
        return self._at

    def apply(self, event: Event, at: datetime, run: int | None = None) -> Verdict:
        """Take in one event in log order.

        `at` is when it was stored or received, with a time zone; `run` that of an `.end.<run>` subject.
        """
        before = self._gate.run
        verdict = self._gate.admit(event, run)
        if verdict is Verdict.LATE:
            return verdict
        if self._gate.run != before:
            self._begin()
        self._at = at if self._at is None else max(self._at, at)
        when = event.at or at
        if event.kind != JOB and self._status == "unknown":
            self._status = "running"
            self._started_at = when
        _TAKE[event.kind or PROGRESS](self, event, when)
        return verdict

    def summary(self, *, stalled: bool = False) -> dict[str, Any]:
        """The fields of `job.summary`. Whether the job is stalled is for its reader's clock to say."""
        return {
            "jobId": json_job_id(self.job),
            "name": self._name,
            "status": self._status,
            "run": self._gate.run,
            "fraction": self._job_fraction(),
            "message": self._message,
            "startedAt": _time(self._started_at),
            "endedAt": _time(self._ended_at),
            "lastEventAt": _time(self._at),
            "stalled": stalled,
        }

    def snapshot(self, *, stalled: bool = False, durable: bool = False) -> dict[str, Any]:
        """The state in the protocol's shape, at most 256 KiB as JSON.

        What had to give way is named in `truncated`: oldest log lines and artifacts first.
        """
        snapshot = {
            **self.summary(stalled=stalled),
            **self._body(),
            "durable": durable,
            **({"willRetry": True} if self._will_retry else {}),
        }
        return _fit(snapshot, MAX_SNAPSHOT)

    def parts(self) -> dict[str, Any]:
        """Everything `restored()` needs but the run, as JSON values; with room for what a record adds, 256 KiB.

        Unlike a snapshot's, `fraction` is the one given for the job, not the plan's.
        """
        parts = {
            "name": self._name,
            "status": self._status,
            "fraction": self._fraction,
            "message": self._message,
            "startedAt": _time(self._started_at),
            "endedAt": _time(self._ended_at),
            "lastEventAt": _time(self._at),
            "willRetry": self._will_retry,
            **self._body(),
        }
        return _fit(parts, MAX_SNAPSHOT - _ENVELOPE)

    def _body(self) -> dict[str, Any]:
        """What a snapshot and a record share beyond the summary."""
        body = {
            "nodes": [_with_times(node, _time) for node in self._nodes.values()],
            "plan": self._plan,
            "artifacts": list(self._artifacts.values()),
            "logTail": list(self._log_tail.values()),
            "result": self._result,
            "error": self._error,
            "queuedAt": _time(self._queued_at),
        }
        return {**body, "truncated": list(self._truncated)} if self._truncated else body

    def _take_job(self, event: Event, when: datetime) -> None:
        if event.name is not None:
            self._name = event.name
        self._take_words(event)
        if event.status is None:
            return
        self._status = event.status
        if event.status == "queued":
            self._queued_at = self._queued_at or when
        elif event.status == "running":
            self._started_at = self._started_at or when
        elif event.is_terminal:
            self._ended_at = when
            self._will_retry = bool(event.willRetry)
            if event.status == "completed":
                self._fraction = 1.0

    def _take_progress(self, event: Event, when: datetime) -> None:
        if event.nodeId is None:
            self._take_words(event)
            return
        node = self._nodes.get(event.nodeId)
        is_new = node is None
        node = node or {"nodeId": event.nodeId}
        _take_times(node, event.status, when)
        for field in _NODE_FIELDS:
            value = getattr(event, field)
            if value is not None:
                node[field] = value
        if event.error is not None:
            node["error"] = event.error.model_dump()
        fraction = _fraction(event, node.get("total"))
        if fraction is not None:
            node["fraction"] = fraction
        if is_new or event.message or event.status or event.nodeName or event.unit or event.error:
            self._nodes.put(event.nodeId, node, _texts(node))

    def _take_words(self, event: Event) -> None:
        """What an event says about the job as a whole."""
        fraction = _fraction(event, event.total)
        if fraction is not None:
            self._fraction = fraction
        if event.message is not None:
            self._message = event.message
        if event.error is not None:
            self._error = event.error.model_dump()

    def _take_log(self, event: Event, when: datetime) -> None:
        level = event.data.get("level") if event.data else None
        line = {"at": _time(when), "level": level or "info", "message": event.message}
        if event.nodeId is not None:
            line["nodeId"] = event.nodeId
        self._add_line(line)

    def _add_line(self, line: dict[str, Any]) -> None:
        self._lines += 1
        self._log_tail.put(self._lines, line, _texts(line))

    def _take_artifact(self, event: Event, when: datetime) -> None:
        name = event.data["name"]
        artifact = {**event.data, "at": _time(when)}
        self._artifacts.put(name, artifact, _size(artifact))

    def _take_plan(self, event: Event, _when: datetime) -> None:
        self._plan = event.data

    def _take_result(self, event: Event, _when: datetime) -> None:
        self._result = event.data

    def _job_fraction(self) -> float | None:
        if self._fraction is not None or self._plan is None:
            return self._fraction
        done = weights = 0.0
        for planned in self._plan["nodes"]:
            weight = planned.get("weight")
            weight = _PLAN_WEIGHT if weight is None else weight
            weights += weight
            done += weight * _done(self._nodes.get(planned["nodeId"]))
        return done / weights if weights else None


_TAKE: Final[dict[str, Callable[[JobState, Event, datetime], None]]] = {
    PROGRESS: JobState._take_progress,
    JOB: JobState._take_job,
    LOG: JobState._take_log,
    ARTIFACT: JobState._take_artifact,
    PLAN: JobState._take_plan,
    RESULT: JobState._take_result,
}


def _take_times(node: dict[str, Any], status: str | None, when: datetime) -> None:
    node["at"] = when
    if status != "idle":
        node.setdefault("startedAt", when)
    if status in ENDS:
        node.setdefault("endedAt", when)
    elif status is not None:
        node.pop("endedAt", None)


def _with_times(node: Mapping[str, Any], write: Callable[[Any], Any]) -> dict[str, Any]:
    return {**node, **{name: write(node[name]) for name in _NODE_TIMES if node.get(name) is not None}}


def _fraction(event: Event, total: float | None) -> float | None:
    if event.fraction is not None:
        return event.fraction
    if event.rowCount is None or total is None or total <= 0:
        return None
    return min(max(event.rowCount / total, 0.0), 1.0)


def _done(node: dict[str, Any] | None) -> float:
    if node is None:
        return 0.0
    if node.get("status") == "completed":
        return 1.0
    fraction: float = node.get("fraction", 0.0)
    return fraction


def _read(at: str | None) -> datetime | None:
    read = None if at is None else datetime.fromisoformat(at)
    if read is not None and read.tzinfo is None:
        raise TypeError("a time without its zone")
    return read


def _check(parts: Mapping[str, Any]) -> None:
    """TypeError or ValueError when these are no snapshot's: what comes after could not be taken in."""
    _check_fields(parts, _SNAPSHOT)
    if parts["run"] < 1 or parts["status"] not in JOB_STATUSES | {"unknown"}:
        raise TypeError("no run or no status of a job")
    _PLAN_DATA.validate_python(parts["plan"])
    for node in parts["nodes"]:
        _check_fields({**dict.fromkeys(_NODE), **node}, _NODE)
    for artifact in parts["artifacts"]:
        _check_fields(artifact, {"name": str, "uri": str})
    for line in parts["logTail"]:
        _check_fields(line, {"level": str, "message": _TEXT})


def _check_fields(fields: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]]) -> None:
    for name, kind in kinds.items():
        # JSON's true is no number, though Python's is
        if not isinstance(fields[name], kind) or (kind is not bool and isinstance(fields[name], bool)):
            raise TypeError(name)


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _texts(fields: Mapping[str, Any]) -> int:
    """Bytes of the texts among these, and in their error."""
    size = sum(len(value.encode()) for value in fields.values() if type(value) is str)
    error = fields.get("error")
    return size if error is None else size + _size(error)


def _fit(snapshot: dict[str, Any], largest: int) -> dict[str, Any]:
    for field in _LISTS:
        # Tens of megabytes need not be encoded to see that they are too many.
        _keep_newest(snapshot[field], 2 * largest)
    over = _size(snapshot) - largest
    for field in _GIVES_WAY:
        if over <= 0:
            break
        # Room for saying so; "truncated" itself and each field's name stay under this.
        over += 0 if "truncated" in snapshot else 100
        truncated = snapshot.setdefault("truncated", [])
        if field not in truncated:
            truncated.append(field)
        if isinstance(snapshot[field], list):
            over = _drop_oldest(snapshot[field], over)
        else:
            over -= _size(snapshot[field]) - _size(None)
            snapshot[field] = None
    return snapshot


def _keep_newest(items: list[Any], most: int) -> None:
    for index in range(len(items) - 1, -1, -1):
        most -= _size(items[index])
        if most < 0:
            del items[:index]
            return


def _drop_oldest(items: list[Any], over: int) -> int:
    dropped = 0
    while over > 0 and dropped < len(items):
        over -= _size(items[dropped]) + 1
        dropped += 1
    del items[:dropped]
    return over
