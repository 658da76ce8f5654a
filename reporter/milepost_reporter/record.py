# ruff: noqa: N815 - a field is called what the wire calls it
"""State records: one reporter's part of a job's state, written, read and merged.

Source: protocol, *State record*. A job's snapshot is its records merged, and after them the log's tail: those
events that no record counts.

    ValueError
     └── BadRecord     a payload is no record; `reason` says why in one word
"""

import heapq
import json
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from milepost_reporter.event import ENDS, JOB_STATUSES, BadEvent, Count, EventError, NodeId, PlanData, refuse_constants
from milepost_reporter.state import LOG_TAIL, MAX_ARTIFACTS, MAX_NODES, MAX_SNAPSHOT, JobState, rfc3339

SUMMARY_HEADER: Final = "Milepost-Summary"
"""On every record: the job's summary as this reporter knows it, so that a list of jobs needs no payloads."""

MAX_HEADER_TEXT: Final = 1_000
"""Characters of a name or a message in that header."""

_MAX_INTEGER: Final = 2**63 - 1
_UNKNOWN: Final = "unknown"
_STATUSES: Final = JOB_STATUSES | {_UNKNOWN}
_PLAN: Final = TypeAdapter(PlanData | None)

Number = Annotated[int, Field(ge=0, le=_MAX_INTEGER)]
Share = Annotated[float, Field(ge=0, le=1)]


class RecordJob(BaseModel):
    """What this reporter's events say about the job itself."""

    model_config = ConfigDict(strict=True)

    name: str | None = None
    status: str = _UNKNOWN
    fraction: Share | None = None
    message: str | None = None
    queuedAt: AwareDatetime | None = None
    startedAt: AwareDatetime | None = None
    endedAt: AwareDatetime | None = None
    result: Any = None
    error: EventError | None = None
    willRetry: bool = False

    @field_validator("status")
    @classmethod
    def _is_status(cls, status: str) -> str:
        if status not in _STATUSES:
            raise ValueError("no status of a job")
        return status


class RecordNode(BaseModel):
    """The latest of one node."""

    model_config = ConfigDict(strict=True)

    nodeId: NodeId
    at: AwareDatetime
    startedAt: AwareDatetime | None = None
    endedAt: AwareDatetime | None = None
    nodeName: str | None = None
    status: str | None = None
    rowCount: Count | None = None
    total: Count | None = None
    unit: str | None = None
    fraction: Share | None = None
    message: str | None = None
    error: EventError | None = None


class RecordArtifact(BaseModel):
    """One artifact; more fields may stand beside these."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str
    uri: str
    at: AwareDatetime


class RecordLine(BaseModel):
    """One line of the job's log."""

    model_config = ConfigDict(strict=True)

    at: AwareDatetime
    level: str
    message: str | None = None
    nodeId: NodeId | None = None


class Record(BaseModel):
    """One reporter's events up to its `count`-th, reduced. `seq` is that event's place in the log."""

    model_config = ConfigDict(strict=True)

    reporter: str = ""
    count: Number
    seq: Number
    run: Annotated[int, Field(ge=1, le=2**53 - 1)]
    owner: bool
    """Whether it is the one that speaks for the job itself."""

    lease: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Seconds within which its next beat is promised."""

    lastEventAt: AwareDatetime | None = None
    job: RecordJob
    nodes: list[RecordNode] = []
    plan: dict[str, Any] | None = None
    artifacts: list[RecordArtifact] = []
    logTail: list[RecordLine] = []
    truncated: list[str] = []
    """What had to give way."""

    @field_validator("plan")
    @classmethod
    def _is_plan(cls, plan: dict[str, Any] | None) -> dict[str, Any] | None:
        _PLAN.validate_python(plan)
        return plan

    @property
    def ended(self) -> bool:
        """Whether it tells of its run's end."""
        return self.job.status in ENDS


class BadRecord(ValueError):  # noqa: N818 - as BadEvent
    """A payload that is no record. `reason`: `too_large`, `not_json`, `not_object` or `bad_field`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def write_record(state: JobState, *, count: int, seq: int, owner: bool, lease: float | None) -> bytes:
    """The record of a reporter whose first `count` events amount to `state`; at most 256 KiB.

    `seq` is the last one's place in the log, `lease` in seconds or None. What had to give way is named in
    `truncated`, oldest log lines and artifacts first.
    """
    parts = state.parts()
    job = {name: parts.pop(name) for name in RecordJob.model_fields}
    record = {"count": count, "seq": seq, "run": state.run, "owner": owner, "lease": lease, "job": job, **parts}
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def parse_record(reporter: str, payload: bytes) -> Record:
    """The record `reporter` wrote. BadRecord, and nothing else, when it is none."""
    if len(payload) > MAX_SNAPSHOT:
        raise BadRecord("too_large", f"{len(payload)} bytes are more than {MAX_SNAPSHOT}")
    try:
        if b"NaN" in payload or b"Infinity" in payload:
            refuse_constants(payload)
        record = Record.model_validate_json(payload)
    except BadEvent as error:
        raise BadRecord(error.reason, str(error)) from None
    except ValidationError as error:
        raise _bad_record(error) from None
    record.reporter = reporter
    return record


def summary_header(state: JobState) -> str:
    """The value of `Milepost-Summary`: the summary's fields as ASCII JSON on one line, long texts cut."""
    summary = state.summary()
    for name in ("name", "message"):
        if summary[name] is not None:
            summary[name] = summary[name][:MAX_HEADER_TEXT]
    return json.dumps(summary, separators=(",", ":"))


def merge(job: str, records: Iterable[Record]) -> JobState:
    """What a job's records amount to, ready for those events that none of them counts, in log order.

    Only records of the highest run count. For one reporter this equals the reduction of all its events. For
    several it does, as long as each node, each artifact's name, and everything about the job itself is told
    by one of them, but for:

    - the order of nodes, artifacts and log lines: nodes go by when they began, each reporter's own artifacts stay
      as they are, log lines go by their time;
    - `startedAt` (and `queuedAt`): the earliest told by an owner; by anybody, when no owner has told one;
    - an end that one reporter's record counts and another's events around it: what another's record counts
      is taken in, also when it came after the end, and what it does not count yet is late, also when it came
      before. A child that ends in good order has counted everything by then.

    What several have told of goes to one of them: a node or an artifact to the one with the latest `at`, the
    job's fields to the owner with the highest `seq`, then to other owners and the rest where it left them
    open. A run that anybody has ended has ended.
    """
    of = _of_highest_run(records)
    if not of:
        return JobState(job)
    parts = {
        **_job_part(of),
        "lastEventAt": max((one.lastEventAt for one in of if one.lastEventAt), default=None),
        "plan": next((one.plan for one in of if one.plan is not None), None),
        "nodes": _nodes(of),
        "artifacts": _artifacts(of),
        "logTail": _log_tail(of),
        "truncated": list(dict.fromkeys(name for one in of for name in one.truncated)),
    }
    return JobState.restored(job, of[0].run, parts)


def _of_highest_run(records: Iterable[Record]) -> list[Record]:
    """Owners first, then by how far they have come."""
    known = list(records)
    run = max((one.run for one in known), default=1)
    return sorted((one for one in known if one.run == run), key=lambda one: (one.owner, one.seq), reverse=True)


def _job_part(records: list[Record]) -> dict[str, Any]:
    # The end counts before everything else, whoever told it.
    ordered = sorted(records, key=lambda one: not one.ended)
    jobs = [one.job for one in ordered]
    error = _first(jobs, "error")
    status = next((told.status for told in jobs if told.status != _UNKNOWN), _UNKNOWN)
    return {
        "status": status,
        "name": _first(jobs, "name"),
        "fraction": _first(jobs, "fraction"),
        "message": _first(jobs, "message"),
        "result": _first(jobs, "result"),
        "error": error.model_dump() if error is not None else None,
        "queuedAt": _earliest(records, "queuedAt"),
        "startedAt": _earliest(records, "startedAt"),
        "endedAt": jobs[0].endedAt,
        "willRetry": jobs[0].willRetry,
    }


def _first(jobs: list[RecordJob], field: str) -> Any:  # noqa: ANN401 - whatever the field holds
    return next((value for told in jobs if (value := getattr(told, field)) is not None), None)


def _earliest(records: list[Record], field: str) -> Any:  # noqa: ANN401 - a time or None
    told = [(one.owner, at) for one in records if (at := getattr(one.job, field)) is not None]
    by_owners = [at for owner, at in told if owner]
    return min(by_owners or [at for _, at in told], default=None)


def _nodes(records: list[Record]) -> list[dict[str, Any]]:
    latest: dict[int | str, RecordNode] = {}
    for one in records:
        for node in one.nodes:
            known = latest.get(node.nodeId)
            if known is None or node.at > known.at:
                latest[node.nodeId] = node
    if len(records) > 1:
        # In the order in which they began: each reporter knows its own only.
        latest = dict(sorted(latest.items(), key=lambda item: item[1].startedAt or item[1].at))
    return [_node(node) for node in list(latest.values())[-MAX_NODES:]]


def _node(node: RecordNode) -> dict[str, Any]:
    fields = node.model_dump(exclude_none=True)
    if node.error is not None:
        fields["error"] = node.error.model_dump()
    return fields


def _artifacts(records: list[Record]) -> list[dict[str, Any]]:
    latest: dict[str, RecordArtifact] = {}
    for one in records:
        for artifact in one.artifacts:
            known = latest.get(artifact.name)
            if known is None or artifact.at > known.at:
                latest[artifact.name] = artifact
    return [
        {**artifact.model_dump(), "at": rfc3339(artifact.at)} for artifact in list(latest.values())[-MAX_ARTIFACTS:]
    ]


def _log_tail(records: list[Record]) -> list[dict[str, Any]]:
    lines = heapq.merge(*(one.logTail for one in records), key=lambda line: line.at)
    return [_line(line) for line in list(lines)[-LOG_TAIL:]]


def _line(line: RecordLine) -> dict[str, Any]:
    written = {"at": rfc3339(line.at), "level": line.level, "message": line.message}
    return written if line.nodeId is None else {**written, "nodeId": line.nodeId}


_NOT_JSON: Final = "json_invalid"
_NOT_OBJECT: Final = "model_type"


def _bad_record(error: ValidationError) -> BadRecord:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == _NOT_JSON:
        return BadRecord("not_json", first["msg"])
    if first["type"] == _NOT_OBJECT and not first["loc"]:
        return BadRecord("not_object", first["msg"])
    return BadRecord("bad_field", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
