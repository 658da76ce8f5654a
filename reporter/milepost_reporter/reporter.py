"""`Reporter`: what a job program calls.

The job's threads only touch memory: values go into the outbox or stay on a node, and one daemon thread, the
link, sends them. Nothing here blocks or raises into the job, but for a constructor with arguments that cannot
be right.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from milepost_reporter import control, current, process
from milepost_reporter.cancel import CancelToken
from milepost_reporter.ending import Ending
from milepost_reporter.event import ARTIFACT, JOB, LOG, PLAN, RESULT
from milepost_reporter.link import Link
from milepost_reporter.names import check_job
from milepost_reporter.node import Node
from milepost_reporter.outbox import Fields, Key, Outbox
from milepost_reporter.payload import (
    BadValueError,
    encode,
    encode_checked,
    fraction,
    moment,
    now,
    number,
    optional_text,
    text,
)
from milepost_reporter.sender import Sender
from milepost_reporter.settings import Settings, speaks_for_job
from milepost_reporter.stats import Stats
from milepost_reporter.track import Track

if TYPE_CHECKING:
    from milepost_reporter.recording import RecordingReporter

T = TypeVar("T")

_logger: Final = logging.getLogger("milepost_reporter")

_MAX_ID: Final = 128
"""Characters of a node's id."""


class Reporter:
    """One job's progress, from this process.

    `with` (or `async with`) tells the job's start and its end; without it the reporter only passes on what it
    is given. More keyword arguments are `Settings` fields. ValueError when an argument cannot be right.
    """

    _interruptions: ClassVar[tuple[type[Exception], ...]] = ()
    """What a signal's handler raises into the job's code wherever that is, here too: it is the job's."""

    def __init__(
        self,
        *,
        nats_url: str,
        tenant: str,
        job: str | int,
        run: int = 1,
        name: str | None = None,
        **more: Any,  # noqa: ANN401 - every other field of Settings, which checks them
    ) -> None:
        settings = Settings(nats_url=nats_url, tenant=tenant, job=check_job(job), run=run, name=name, **more)
        self._set_up(settings, owner=True)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A reporter as the environment says; one that does nothing when that is not enough. Never raises.

        `NATS_URL`, `MILEPOST_TENANT` and `MILEPOST_JOB` are needed. What cannot be used is warned about.
        With `MILEPOST_OWNER=no` another program tells the job's start and end.
        """
        environ = os.environ if environ is None else environ
        settings = Settings.from_env(environ, _logger.warning)
        owner = settings is None or speaks_for_job(environ, _logger.warning)
        return cls.from_settings(settings, owner=owner)

    @classmethod
    def disabled(cls) -> Self:
        """A reporter that does nothing."""
        return cls.from_settings(None, owner=False)

    @staticmethod
    def recording() -> "RecordingReporter":
        """A reporter that keeps its events in a list, for tests."""
        from milepost_reporter.recording import RecordingReporter

        return RecordingReporter()

    @classmethod
    def from_settings(cls, settings: Settings | None, *, owner: bool = True) -> Self:
        """A reporter that does nothing without settings, and does not speak for the job unless `owner`."""
        reporter = cls.__new__(cls)
        reporter._set_up(settings, owner=owner)
        return reporter

    def _set_up(self, settings: Settings | None, *, owner: bool) -> None:
        self._settings = settings
        # Whether this reporter speaks for the job itself: tells its start, and its end when `with` is left.
        self._owner = owner
        self._begun = False
        self._ended = False
        self._closed = settings is None
        self._late = 0
        self._refused = 0
        self._warned: set[str] = set()
        self._fresh()
        process.register(self)

    def _fresh(self) -> None:
        """What no two processes may share."""
        # Reentrant, as the outbox's.
        self._lock = threading.RLock()
        self.id = secrets.token_hex(8)
        self._generated = 0
        self._nodes: dict[Key, Node] = {}
        self._said: tuple[float | None, str | None] = (None, None)
        self._sender: Sender | None = None
        self._unstartable = False
        self._cancellation: CancelToken | None = None
        self._told_cancelling = False
        settings = self._settings
        self._outbox = Outbox(
            interval=settings.interval if settings else 0,
            max_events=settings.max_events if settings else 1,
            max_bytes=settings.max_bytes if settings else 1,
            run=self.run,
        )

    @property
    def enabled(self) -> bool:
        """Whether anything is reported at all."""
        return self._settings is not None

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    @property
    def tenant(self) -> str:
        """The tenant; empty when disabled."""
        return self._settings.tenant if self._settings else ""

    @property
    def job(self) -> str:
        """The job's id; empty when disabled."""
        return self._settings.job if self._settings else ""

    @property
    def run(self) -> int:
        """Which execution of the job this is, from 1."""
        return self._settings.run if self._settings else 1

    @property
    def stats(self) -> Stats:
        """Counts so far."""
        outbox, sender = self._outbox, self._sender
        return Stats(
            waiting=len(outbox),
            sent=sender.sent if sender else 0,
            confirmed=sender.confirmed if sender else 0,
            conflated=outbox.conflated,
            dropped=dict(outbox.dropped),
            refused=self._refused + outbox.refused + (sender.refused if sender else 0),
            late=self._late,
            connected=sender.connected if sender else False,
            connections=sender.connections if sender else 0,
        )

    @property
    def cancellation(self) -> CancelToken:
        """Says whether the job is to stop.

        From its first use on this reporter hears requests over NATS, when it speaks for the job: not in child
        processes, whose token nobody but themselves requests.
        """
        token = self._cancellation
        return self._new_cancellation() if token is None else token

    # What the job says

    def node(
        self,
        id: int | str | None = None,
        name: str | None = None,
        *,
        total: float | None = None,
        unit: str | None = None,
    ) -> Node:
        """One step of the job, running from now on. `with` ends it: completed, failed or cancelled.

        Without an id it gets one of its own. `total` is how many `unit` are expected.
        """
        node = Node(
            self,
            self._node_id(id),
            self._or_none("name", optional_text, name),
            None if total is None else self._or_none("total", number, total),
            self._or_none("unit", optional_text, unit),
        )
        self.begin_node(node)
        return node

    def track(
        self,
        iterable: Iterable[T] | AsyncIterable[T],
        name: str | None = None,
        *,
        total: float | None = None,
        unit: str | None = "it",
    ) -> Track[T]:
        """The same items, counted on a node of their own; for `for` and `async for`.

        How many there will be is `total`, else `len(iterable)`, else unknown.
        """
        if total is None:
            # Whatever a len() of somebody's own raises, the loop does not need it.
            with contextlib.suppress(Exception):
                total = len(iterable)  # type: ignore[arg-type]
        return Track(iterable, lambda: self.node(None, name, total=total, unit=unit))

    def report(self, fraction: float | None = None, message: str | None = None) -> None:
        """How far the job as a whole is, 0..1, and one line for people. What is not given stays as it was."""
        self.harmless("report", self._report, fraction, message)

    def log(self, message: str, level: str = "info") -> None:
        """One line of the job's log. Levels: debug, info, warning, error."""
        self.harmless("log", self._log, message, level)

    def artifact(self, name: str, uri: str, **more: Any) -> None:  # noqa: ANN401 - any JSON
        """Something the job has made, and where it is. `more` is JSON that goes along."""
        self.harmless("artifact", self._keep, ARTIFACT, {"data": {"name": name, "uri": uri, **more}})

    def plan(self, nodes: Iterable[Any], edges: Iterable[Any] = ()) -> None:
        """The nodes to come, and which follows which.

        A node is an id, `(id, name)`, `(id, name, weight)` or `{nodeId, nodeName, weight}`; an edge is
        `(from, to)`.
        """
        self.harmless("plan", self._plan, nodes, edges)

    def result(self, value: object) -> None:
        """What the job came to: any JSON of at most 64 KiB."""
        self.harmless("result", self._result, value)

    def complete(self, message: str | None = None) -> None:
        """End the job's run: it has done its work."""
        self.harmless("end", lambda: self._end(Ending("completed", optional_text("message", message))))

    def fail(self, error: BaseException | str | None = None) -> None:
        """End the job's run: it has failed."""
        self.harmless("end", lambda: self._end(Ending.failed(error)))

    def cancel(self, message: str | None = None) -> None:
        """End the job's run: it was told to stop."""
        self.harmless("end", lambda: self._end(Ending("cancelled", optional_text("message", message))))

    def close(self, timeout: float | None = None) -> bool:
        """Send what is left, within `timeout` (the setting's 5 s; 1 s while NATS is not there), and stop.

        Whether everything is known to have reached the server. Does not end the job's run.
        """
        self.begin_close(timeout)
        sender = self._sender
        if sender is None:
            return not len(self._outbox)
        sender.join()
        if not sender.idle:
            left = len(self._outbox) + sender.sent - sender.confirmed
            self._warn("unsent", "%d events of job %s have not reached NATS: %s", left, self.job, sender.trouble)
        return sender.idle

    def begin_close(self, timeout: float | None = None) -> None:
        """The first half of `close()`: does not wait."""
        self.harmless("close", self._begin_close, timeout)

    # Blocks

    def begin(self) -> None:
        """Tell the job's start, as entering `with` does: from now on it has promised to end."""
        self.harmless("start", self._begin)

    def end(self, error: BaseException | None = None) -> None:
        """Tell the job's end as leaving `with` by `error` does, and send what is left."""
        self.harmless("end", self._leave, error)
        self.close()

    def __enter__(self) -> Self:
        self.begin()
        current.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.leave(self)
        self.end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.leave(self)
        self.harmless("end", self._leave, error)
        self.begin_close()
        try:
            await asyncio.to_thread(self.close)
        except RuntimeError:  # no loop of asyncio's, or one that has no threads any more
            self.close()

    # Other processes

    def __reduce__(self) -> tuple[Callable[..., "Reporter"], tuple[str, Settings | None]]:
        return _handle, (self.id, self._settings)

    def forked(self) -> None:
        """In a child process: start anew under another id; the job's start and end are the parent's."""
        process.orphan(self._sender)
        self._owner = False
        self._fresh()

    # For nodes, and for what is built on a reporter

    def harmless(self, what: str, act: Callable[..., object], *values: object) -> None:
        """Do what the job asked for, so that nothing comes of it that the job would feel."""
        try:
            act(*values)
        except Exception as error:
            self.refuse(what, error)

    def refuse(self, what: str, error: Exception) -> None:
        """Count a call that cannot be served, and warn of the first of its sort."""
        if isinstance(error, self._interruptions):
            raise error
        self._refused += 1
        self._warn(what, "%s() is refused: %s", what, error)

    def begin_node(self, node: Node) -> None:
        """Tell a node's first event; from now on what it has counted is sampled."""
        self.harmless("node", self._begin_node, node)

    def node_ended(self, node: Node) -> None:
        """Tell a node's last event, when it is one of this process and the job has not told it."""
        with self._lock:
            if self._nodes.get(node.id) is not node:
                return
            del self._nodes[node.id]
            self.progress(node.id, node.fields(), last=True)

    def progress(self, key: Key, fields: Fields, *, last: bool = False) -> None:
        """Put a node's progress, or the job's, into the outbox."""
        if self._open():
            if not self._outbox.put_progress(key, fields, last=last):
                self._full()
            self._wake()

    def _open(self) -> bool:
        if self._settings is None:
            return False
        if self._ended or self._closed:
            self._late += 1
            return False
        return True

    def _keep(self, kind: str, fields: Fields) -> None:
        if not self._open():
            return
        payload = encode_checked({"kind": kind, **fields, "run": self.run, "at": now()})
        self._put(kind, payload)

    def _put(self, kind: str, payload: bytes) -> None:
        if not self._outbox.put(kind, payload):
            self._full()
        self._wake()

    def _log(self, message: object, level: object) -> None:
        if self._open():
            data = {"level": text("level", level)}
            fields = {
                "kind": LOG,
                "message": text("message", message),
                "data": data,
                "run": self.run,
                "at": now(),
            }
            self._put(LOG, encode(fields))

    def _report(self, given: object, message: object) -> None:
        if not self._open():
            return
        before, said = self._said
        share = before if given is None else fraction(given)
        said = said if message is None else text("message", message)
        self._said = (share, said)
        if share is None and said is None:
            raise BadValueError("neither fraction nor message is given")
        fields = {"fraction": share, "message": said, "run": self.run, "at": moment(time.time())}
        if not self._outbox.put_progress(None, fields):
            self._full()
        self._wake()

    def _plan(self, nodes: Iterable[Any], edges: Iterable[Any]) -> None:
        data = {"nodes": [_planned(node) for node in nodes], "edges": [list(edge) for edge in edges]}
        self._keep(PLAN, {"data": data})

    def _result(self, value: object) -> None:
        # None is a result as well; as a field it would be left out.
        if not self._open():
            return
        if value is None:
            head = encode({"kind": RESULT, "run": self.run, "at": now()})
            self._put(RESULT, head[:-1] + b',"data":null}')
        else:
            self._keep(RESULT, {"data": value})

    def _begin(self) -> None:
        with self._lock:
            if self._begun or not self._owner or not self._open():
                return
            self._begun = True
        self._put(JOB, self._job_event("running"))

    def _leave(self, error: BaseException | None) -> None:
        if self._owner and not self._ended:
            self._end(Ending.of(error))

    def _end(self, ending: Ending) -> None:
        with self._lock:
            if not self._open():
                return
            for node in list(self._nodes.values()):
                node.close(Ending(ending.status))
                self.node_ended(node)
            self._ended = True
            self._outbox.put_end(self._job_event(ending.status, ending.message, ending.error))
        self._wake()

    def _job_event(self, status: str, message: str | None = None, error: dict[str, str] | None = None) -> bytes:
        fields = {
            "kind": JOB,
            "status": status,
            "run": self.run,
            "message": message,
            "error": error,
            "at": now(),
        }
        name = self._settings.name if self._settings else None
        return encode({**fields, "name": name})

    def _begin_close(self, timeout: float | None) -> None:
        with self._lock:
            if self._closed:
                return
            if not self._ended:
                self._sample()
            self._closed = True
            self._outbox.hurry()
            if len(self._outbox):
                self._wake()
        if self._sender is not None:
            self._sender.close(timeout)

    def _begin_node(self, node: Node) -> None:
        with self._lock:
            if self._open():
                self._nodes[node.id] = node
                self.progress(node.id, node.fields())

    def _sample(self) -> bool:
        """Put what running nodes have counted into the outbox; whether there are any."""
        for node in list(self._nodes.values()):
            # Under the lock, so that no node's end can come between and be overwritten.
            with self._lock:
                if self._nodes.get(node.id) is node and (fields := node.sample()) is not None:
                    self._outbox.put_progress(node.id, fields)
        return bool(self._nodes)

    def _node_id(self, given: object) -> int | str:
        if given is not None:
            try:
                return checked_id(given)
            except Exception as error:
                self.refuse("node", error)
        with self._lock:
            self._generated += 1
            return f"{self.id}-{self._generated}"

    def _or_none(self, name: str, check: Callable[[str, object], T], value: object) -> T | None:
        try:
            return check(name, value)
        except Exception as error:
            self.refuse("node", error)
            return None

    def _new_cancellation(self) -> CancelToken:
        with self._lock:
            token = self._cancellation
            if token is None:
                token = self._cancellation = CancelToken()
                token.on_request(lambda: self.harmless("cancellation", self._tell_cancelling))
                if self._is_heard:
                    self._start()
                    self._listen()
            return token

    @property
    def _is_heard(self) -> bool:
        """Whether this reporter may still say something about the job itself."""
        return self._owner and not (self._ended or self._closed)

    def _listen(self) -> None:
        if self._sender is not None and self._cancellation is not None and self._owner:
            self._sender.listen(self._asked)

    def _asked(self, payload: bytes) -> bytes:
        """Answer a request to the job, on the sender's thread."""
        try:
            control.read_action(payload)
        except control.BadRequest as error:
            self._refused += 1
            self._warn("control", "a request to job %s is refused: %s", self.job, error)
            return control.refusal(str(error))
        with self._lock:
            if not self._is_heard:
                return control.refusal(f"run {self.run} has ended")
            # Ahead of the token: the job may stop as soon as it knows, and nothing comes after its end.
            self._tell_cancelling()
        self.cancellation.request()
        return control.ACCEPTED

    def _tell_cancelling(self) -> None:
        """Report, once, that the job was told to stop."""
        with self._lock:
            if self._is_heard and not self._told_cancelling:
                self._told_cancelling = True
                self._put(JOB, self._job_event("cancelling"))

    def _wake(self) -> None:
        sender = self._sender or self._start()
        if sender is not None:
            sender.wake()

    def _start(self) -> Sender | None:
        with self._lock:
            if self._sender is None and not self._unstartable:
                try:
                    self._sender = self._new_sender()
                except RuntimeError as error:  # no more threads
                    self._unstartable = True
                    self._warn("start", "not reporting progress: %s", error)
                else:
                    self._listen()
            return self._sender

    def _new_sender(self) -> Sender:
        assert self._settings is not None  # noqa: S101 - nothing is sent when disabled
        link = Link(self._settings, self.id, self._outbox, self._sample, self._speaks, owner=self._owner)
        link.start()
        process.close_with_process()
        return link

    def _speaks(self) -> bool:
        """Whether this reporter has told the job's start: who begins it has promised to end it."""
        return self._owner and self._begun

    def _full(self) -> None:
        self._warn("full", "more events than can be kept while NATS does not take them: some are dropped")

    def _warn(self, what: str, message: str, *values: object) -> None:
        """Warn once of each sort. A handler of the job's own may raise what it likes."""
        if what in self._warned:
            return
        self._warned.add(what)
        with contextlib.suppress(Exception):
            _logger.warning(message, *values)


def checked_id(given: object) -> int | str:
    """A node's id as the wire has it. BadValueError when it cannot be one."""
    if isinstance(given, str):
        if 1 <= len(given) <= _MAX_ID:
            return given
        raise BadValueError(f"a node's id has 1 to {_MAX_ID} characters, not {len(given)}")
    whole = number("a node's id", given)
    if isinstance(whole, int):
        return whole
    raise BadValueError("a node's id is a whole number or text, not a fraction")


def _planned(node: Any) -> dict[str, Any]:  # noqa: ANN401 - the caller's; checked as a payload
    if isinstance(node, str | int):
        return {"nodeId": node}
    if isinstance(node, Mapping):
        return dict(node)
    return dict(zip(("nodeId", "nodeName", "weight"), node, strict=False))


def _handle(origin: str, settings: Settings | None) -> Reporter:
    """In another process: the one handle there for the reporter that was sent."""
    handles = process.handles()
    handle: Reporter | None = handles.get(origin)
    if handle is None or handle.closed:
        handle = handles[origin] = Reporter.from_settings(settings, owner=False)
    return handle
