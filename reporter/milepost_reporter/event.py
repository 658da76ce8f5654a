# ruff: noqa: N815 - a field is called what the wire calls it, so that one word finds it everywhere
"""The event payload: what one message on `.progress` or `.end.<run>` says.

Source: protocol, *Event payload*. The shapes live here once; tables in the docs are drawn from these models.

`parse_event` stands in the hot path of whoever passes payloads on to browsers as bytes, so it refuses
whatever a strict JSON parser would refuse, also inside fields it does not know.

    ValueError
     └── BadEvent     one payload is not an event; `reason` says why in one word
"""

import json
from typing import Annotated, Any, Final, NoReturn, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

PROGRESS: Final = "progress"
JOB: Final = "job"
LOG: Final = "log"
ARTIFACT: Final = "artifact"
PLAN: Final = "plan"
RESULT: Final = "result"

KINDS: Final = frozenset({PROGRESS, JOB, LOG, ARTIFACT, PLAN, RESULT})
NODE_STATUSES: Final = frozenset({"idle", "running", "completed", "failed", "cancelled"})
QUEUED: Final = "queued"
"""A job that nobody has begun to run."""

JOB_STATUSES: Final = frozenset({QUEUED, "running", "cancelling", "completed", "failed", "cancelled"})
ENDS: Final = frozenset({"completed", "failed", "cancelled"})
"""The terminal statuses, of a node and of a job alike."""

MAX_PAYLOAD: Final = 65_536
"""Bytes of one payload, as the stream's `max_msg_size`."""

_MAX_RUN = 2**53 - 1

NodeId = Annotated[int, Field(strict=True)] | Annotated[str, StringConstraints(min_length=1, max_length=128)]
Count = Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]


class EventError(BaseModel):
    """What went wrong, for a person: one line, and as much more as helps."""

    model_config = ConfigDict(strict=True)

    message: str | None = None
    details: Any = None


class LogData(BaseModel):
    """`data` of a `log` event. Any word is a level; `debug`, `info`, `warning`, `error` are usual."""

    model_config = ConfigDict(strict=True)

    level: str | None = None


class ArtifactData(BaseModel):
    """`data` of an `artifact` event; more fields may stand beside these."""

    model_config = ConfigDict(strict=True)

    name: str
    uri: str


class PlanNode(BaseModel):
    """One node of a plan; `weight` is its share of the job's fraction, 1 when not given."""

    model_config = ConfigDict(strict=True)

    nodeId: NodeId
    nodeName: str | None = None
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class PlanData(BaseModel):
    """`data` of a `plan` event: the nodes to come and which follows which."""

    model_config = ConfigDict(strict=True)

    nodes: list[PlanNode]
    edges: list[Annotated[list[NodeId], Field(min_length=2, max_length=2)]] | None = None


_DATA: Final[dict[str, TypeAdapter[Any]]] = {
    LOG: TypeAdapter(LogData | None),
    ARTIFACT: TypeAdapter(ArtifactData),
    PLAN: TypeAdapter(PlanData),
}


class Event(BaseModel):
    """One event, its `kind` resolved by the protocol's defaults. Unknown fields are ignored."""

    model_config = ConfigDict(strict=True)

    kind: Annotated[str | None, Field(description="progress, job, log, artifact, plan or result; see the defaults")] = (
        None
    )
    status: Annotated[str | None, Field(description="a node's status, or the job's")] = None
    nodeId: Annotated[NodeId | None, Field(description="which step of the job: an integer or a short string")] = None
    nodeName: Annotated[str | None, Field(description="the node's name, for people")] = None
    rowCount: Annotated[Count | None, Field(description="how many are done")] = None
    message: Annotated[str | None, Field(description="one line for people")] = None
    total: Annotated[Count | None, Field(description="how many are expected")] = None
    unit: Annotated[str | None, Field(description="what is counted")] = None
    fraction: Annotated[
        float | None, Field(ge=0, le=1, description="0..1, given, or rowCount/total where it is shown")
    ] = None
    run: Annotated[int | None, Field(ge=1, le=_MAX_RUN, description="which execution of the job, from 1")] = None
    data: Annotated[Any, Field(description="by kind: log, artifact, plan, result")] = None
    error: Annotated[EventError | None, Field(description="what went wrong: message and details")] = None
    at: Annotated[AwareDatetime | None, Field(description="when it happened at the source (RFC 3339)")] = None
    willRetry: Annotated[bool | None, Field(description="on a job's end: another run follows, the stream goes on")] = (
        None
    )
    name: Annotated[str | None, Field(description="on a job event: the job's name, for people")] = None

    @model_validator(mode="after")
    def _resolve(self) -> Self:
        kind, status = self.kind, self.status
        if kind is None:
            # Past pydantic's __setattr__, which would cost a fifth of the whole parse.
            self.__dict__["kind"] = kind = JOB if status is not None and self.nodeId is None else PROGRESS
        elif kind not in KINDS:
            raise PydanticCustomError("bad_kind", "unknown kind {kind}", {"kind": repr(kind[:40])})
        if status is not None and status not in (JOB_STATUSES if kind == JOB else NODE_STATUSES):
            whose = "a job" if kind == JOB else "a node"
            raise PydanticCustomError(
                "bad_status",
                "{status} is no status of {whose}",
                {"status": repr(status[:40]), "whose": whose},
            )
        if kind not in (PROGRESS, JOB):
            self._check_data(kind)
        elif status is None and self.message is None and self.fraction is None:
            raise PydanticCustomError("empty", "an event must say something: status, fraction or message", {})
        return self

    def _check_data(self, kind: str) -> None:
        given = "data" in self.model_fields_set
        if not given and self.status is None and self.message is None and self.fraction is None:
            raise PydanticCustomError("empty", "{kind} without its data", {"kind": kind})
        if kind == RESULT:
            if not given:
                raise PydanticCustomError("bad_field", "data: a result needs it", {})
            return
        try:
            _DATA[kind].validate_python(self.data)
        except ValidationError as error:
            first = _first(error)
            where = ".".join(("data", *map(str, first["loc"])))
            raise PydanticCustomError("bad_field", "{where}: {why}", {"where": where, "why": first["msg"]}) from None

    @property
    def is_terminal(self) -> bool:
        """Whether this may be the end of a run: a `job` event with a terminal status."""
        return self.kind == JOB and self.status in ENDS


class BadEvent(ValueError):  # noqa: N818 - what it is called wherever events are spoken of
    """A payload that is not an event.

    `reason` is one of a few words, fit for a metric's label: `too_large`, `not_json`, `not_object`, `empty`,
    `bad_kind`, `bad_status`, `bad_field`. The message names the field where there is one.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


_validate = Event.__pydantic_validator__.validate_json


def parse_event(payload: bytes, *, max_bytes: int = MAX_PAYLOAD) -> Event:
    """The event in one payload. BadEvent, and nothing else, when there is none."""
    if len(payload) > max_bytes:
        raise BadEvent("too_large", f"{len(payload)} bytes are more than {max_bytes}")
    # pydantic's parser knows two words more than JSON does, also where it ignores the field they stand in.
    if b"NaN" in payload or b"Infinity" in payload:
        refuse_constants(payload)
    try:
        event: Event = _validate(payload)
    except ValidationError as error:
        raise _bad_event(error) from None
    return event


def refuse_constants(payload: bytes) -> None:
    """BadEvent when `payload` is no JSON, also where only `NaN` or `Infinity` make it so."""
    try:
        json.loads(payload.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadEvent("not_json", str(error)) from None


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_REASONS: Final = {
    "json_invalid": "not_json",
    "model_type": "not_object",
    "empty": "empty",
    "bad_kind": "bad_kind",
    "bad_status": "bad_status",
}


def _bad_event(error: ValidationError) -> BadEvent:
    first = _first(error)
    # Only pydantic's complaints about the whole, and ours, are more than a bad field.
    reason = "bad_field" if first["loc"] else _REASONS.get(first["type"], "bad_field")
    field = f"{first['loc'][0]}: " if first["loc"] else ""
    return BadEvent(reason, field + first["msg"])


def _first(error: ValidationError) -> ErrorDetails:
    return error.errors(include_url=False, include_context=False, include_input=False)[0]
