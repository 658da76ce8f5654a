"""One execution of a task, as a run of its job or as a node of its canvas's."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

from celery.exceptions import SoftTimeLimitExceeded

from milepost_reporter import current
from milepost_reporter.cancel import CancelToken
from milepost_reporter.celery import meta as metas
from milepost_reporter.celery.count import is_last
from milepost_reporter.celery.place import Place, node_id
from milepost_reporter.ending import Ending
from milepost_reporter.node import Node
from milepost_reporter.payload import MAX_MESSAGE, moment, tail
from milepost_reporter.settings import Settings
from milepost_reporter.shared_reporter import SharedReporter

_WAITED: Final = 1.0
"""Seconds in the queue that are worth telling."""

_AFTERWARDS: Final = 1.0
"""Seconds from a canvas's last task until its end is told. Other processes have told by then what they had to."""

_ACCUMULATE: Final = "celery.accumulate"
"""What takes the place of a task that was replaced by a group, to gather the group's results."""


class TaskReporter(SharedReporter):
    """One that leaves a soft time limit to the task."""

    _interruptions = (SoftTimeLimitExceeded,)


class Execution:
    """What is told of it. Without `settings`, nothing."""

    def __init__(
        self,
        id: str,
        task: Any,  # noqa: ANN401 - Celery has no types
        place: Place,
        followers: frozenset[str],
        settings: Settings | None,
    ) -> None:
        self.id = id
        self.place = place
        self.followers = followers
        self.retries = int(task.request.retries or 0)
        self.replaced = False
        """Whether another task was published in its place."""
        self.result: object = None
        self.reporter = TaskReporter.of(settings, alone=not place.canvas)
        self._task = task
        self._node: Node | None = None
        self._ending: Ending | None = None
        self._retries = False
        self._last_state: str | None = None

    def begin(self) -> None:
        """Tell that it runs; from now on `current()` is its reporter for the task's code."""
        place, reporter = self.place, self.reporter
        if place.opens:
            if place.sent and time.time() - place.sent > _WAITED:
                reporter.queued(moment(place.sent))
            reporter.begin()
            if place.plan is not None and place.plan.nodes:
                reporter.plan(place.plan.nodes, place.plan.edges)
        if place.canvas:
            self._node = reporter.node(node_id(self.id), _shown(self._task.name))
        current.enter(reporter)

    def on_cancel(self, stop: Callable[[], object]) -> None:
        """Call back when somebody asks the job to stop."""
        token: CancelToken = self.reporter.cancellation
        token.on_request(stop)

    def state(self, state: str | None, meta: object) -> None:
        """The task has said how it stands."""
        self._last_state = state
        told = metas.read(meta)
        if told is None:
            return
        message = told.message[:MAX_MESSAGE] if told.message is not None else None
        if self._node is not None:
            self._node.report(told.rows, fraction=told.fraction, message=message, total=told.total)
        elif told.fraction is not None or message is not None:
            self.reporter.report(told.fraction, message)

    def failed(self, error: BaseException, einfo: object) -> None:
        """It has failed; `einfo` is Celery's account of that."""
        self._ending = _failure(error, einfo)

    def will_retry(self, reason: Any, einfo: object) -> None:  # noqa: ANN401 - Celery's Retry
        """It has failed, and is to run again."""
        self._retries = True
        self._ending = _failure(getattr(reason, "exc", None) or reason, einfo)._replace(
            message=str(reason)[:MAX_MESSAGE]
        )

    def end(self, state: str | None, retval: object) -> None:
        """It has run; `state` is Celery's, None when something left it that is no Exception."""
        current.leave(self.reporter)
        try:
            self._tell_end(state, retval)
        except Exception:  # a result backend that does not answer
            self.reporter.begin_close()
            raise

    def _tell_end(self, state: str | None, retval: object) -> None:
        ending = self._ended_as(state, retval)
        if ending is None:
            self._leave_open(state)
        elif not self.place.canvas:
            self._end_job(ending)
        elif self._node is not None:
            self._end_node(self._node, ending)

    def _ended_as(self, state: str | None, retval: object) -> Ending | None:
        """None: it is not for this process to say, or it goes on elsewhere."""
        if state == "SUCCESS":
            return Ending("completed")
        if state == "IGNORED":
            return self._ignored()
        if state == "REJECTED":
            self._retries = bool(getattr(retval, "requeue", False))
            return Ending.failed(f"rejected{', back to the queue' if self._retries else ''}")
        if state is None:
            error = sys.exc_info()[1]
            # Whoever ends a process with SystemExit may have been told to: the main process knows.
            return None if error is None or isinstance(error, SystemExit) else Ending.of(error)
        return self._ending or Ending.failed(retval if isinstance(retval, BaseException) else None)

    def _ignored(self) -> Ending | None:
        """What a task that raised Ignore has come to: as it said itself, unless another takes its place."""
        if self.replaced:
            return None
        if self._last_state == "FAILURE":
            return Ending.failed("failed, as the task says itself")
        return Ending("cancelled") if self._last_state == "REVOKED" else Ending("completed")

    def _leave_open(self, state: str | None) -> None:
        if state == "IGNORED" and not self.place.canvas:
            self.reporter.hand_over("goes on in another task's place")
        self.reporter.begin_close()

    def _end_job(self, ending: Ending) -> None:
        if ending.status == "completed":
            self.reporter.returned(self.result)
        self.reporter.finish(ending, will_retry=self._retries)

    def _end_node(self, node: Node, ending: Ending) -> None:
        reporter = self.reporter
        if self._retries:
            node.report(message=f"runs again: {ending.message or _line(ending)}"[:MAX_MESSAGE])
        elif ending.status == "completed":
            node.complete()
            if not self.followers and is_last(self._task.backend, self.place.path):
                if not self.place.path:
                    self.reporter.returned(self.result)
                reporter.finish_later(_AFTERWARDS, ending)
                return
        else:
            _end_canvas(reporter, node, self._task.name, ending)
            return
        reporter.begin_close()


def ended_elsewhere(
    id: str, name: str, place: Place, settings: Settings | None, ending: Ending, *, will_retry: bool
) -> None:
    """Tell the end of an execution that was another process's, or none's."""
    reporter = SharedReporter.of(settings, alone=False)
    if not place.canvas:
        reporter.finish(ending, will_retry=will_retry)
    elif will_retry:
        reporter.node(node_id(id), name).report(message=f"runs again: {_line(ending)}"[:MAX_MESSAGE])
        reporter.begin_close()
    else:
        _end_canvas(reporter, reporter.node(node_id(id), name), name, ending)


def _end_canvas(reporter: SharedReporter, node: Node, name: str, ending: Ending) -> None:
    """What a member has come to, its canvas has."""
    if ending.status == "cancelled":
        node.cancel(ending.message)
    else:
        node.fail(_line(ending))
    reporter.finish(ending._replace(message=f"{name}: {ending.message or _line(ending)}"[:MAX_MESSAGE]))


def _failure(error: BaseException, einfo: object) -> Ending:
    ending = Ending.of(error)
    if ending.error is None:
        return ending
    trace = getattr(einfo, "traceback", None)
    return ending._replace(error={**ending.error, "details": tail(trace)}) if isinstance(trace, str) else ending


def _line(ending: Ending) -> str:
    return ending.error["message"] if ending.error else ending.status


def _shown(name: str) -> str | None:
    return None if name == _ACCUMULATE else name
