"""`report_tasks`: from then on an app's tasks are jobs, by Celery's signals.

In the process that runs a task, the signals around it begin and end an `Execution`. What the worker's main process
alone knows (a task revoked, its process killed, its time over) is told from there. Only a run's first end is kept.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from celery import signals
from celery._state import get_current_worker_task
from celery.app.task import Context
from celery.exceptions import Reject, SoftTimeLimitExceeded, TimeLimitExceeded

from milepost_reporter import shared_link
from milepost_reporter.celery.count import redeliveries
from milepost_reporter.celery.execution import Execution, ended_elsewhere
from milepost_reporter.celery.place import UNLOCK, Place, followers, read_place
from milepost_reporter.celery.publish import Publisher, follow_groups
from milepost_reporter.ending import Ending
from milepost_reporter.names import check_tenant
from milepost_reporter.settings import Settings

_logger: Final = logging.getLogger("milepost_reporter")

_NOBODYS: Final = frozenset({"celery.backend_cleanup"})
"""Celery's own tasks that are nobody's work."""

_NOT_REPORTED: Final = _NOBODYS | {UNLOCK}
"""Those and the one whose runs are not told; when it is lost, its canvas's end is."""

Tenant = str | Callable[[Any], str] | None
"""A tenant, or what says it of a task's request."""


def report_tasks(app: Any, *, tenant: Tenant = None, cancel: bool = False) -> None:  # noqa: ANN401 - Celery has no types
    """Show every task of this app as a job, wherever this is called: in workers, and where tasks are called.

    NATS is reached as the environment says, `NATS_URL` and `MILEPOST_TENANT` first of all; without them tasks run as
    ever and nothing is told.

    Args:
        app: the Celery app. Called twice for one, only the first call counts.
        tenant: whose jobs they are, in place of `MILEPOST_TENANT`: a name, or a function of a task's request
            (`task.request`), which must say the same for all tasks of a canvas. ValueError for a name that is none.
        cancel: whether a request to cancel a job revokes its running tasks and terminates their processes.
    """
    if isinstance(tenant, str):
        check_tenant(tenant)
    _begin_to_mark()
    app = _itself(app)
    if app not in _reports:
        _reports[app] = TaskReports(app, tenant, cancel=cancel)


class TaskReports:
    """What one app's tasks tell in this process."""

    def __init__(self, app: Any, tenant: Tenant, *, cancel: bool) -> None:  # noqa: ANN401
        self._app = weakref.ref(app)
        self._tenant = tenant
        self._cancel = cancel
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._unleased: tuple[Settings, Settings] | None = None
        self._pid = 0
        self._warned: set[str] = set()
        self._running: dict[str, Execution] = {}
        # What this process has taken from the broker, if it is a worker's main one.
        self._received: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._connect()

    def _connect(self) -> None:
        for signal, handle in (
            (signals.task_received, self._on_received),
            (signals.task_prerun, self._on_prerun),
            (signals.task_success, self._on_success),
            (signals.task_retry, self._on_retry),
            (signals.task_failure, self._on_failure),
            (signals.task_postrun, self._on_postrun),
            (signals.task_revoked, self._on_revoked),
            (signals.task_unknown, self._on_unknown),
            (signals.worker_init, self._on_init),
            (signals.worker_process_init, self._on_process_init),
            (signals.worker_process_shutdown, self._on_shutdown),
            (signals.worker_shutdown, self._on_shutdown),
        ):
            # Not weak: nobody else holds them. The id keeps two apps' apart, whose methods compare equal to Celery.
            signal.connect(
                functools.partial(self.harmless, handle), weak=False, dispatch_uid=f"{id(self)}-{handle.__name__}"
            )

    def harmless(self, act: Callable[..., Any], *values: Any, **named: Any) -> Any:  # noqa: ANN401
        """Do it so that nothing comes of it that Celery or a task would feel. None when it fails."""
        try:
            return act(*values, **named)
        except SoftTimeLimitExceeded:
            raise  # the task's: it strikes wherever the task is
        except Exception as error:
            self._warn(act.__name__, error)
            return None

    def _warn(self, what: str, error: object) -> None:
        """Once of each sort."""
        if what not in self._warned:
            self._warned.add(what)
            _logger.warning("a task is not reported as it should be (%s): %r", what.strip("_"), error)

    def running(self, task: str) -> Execution | None:
        """The execution of this task, if it runs in this process."""
        return self._running.get(task)

    def place_of(self, task: str) -> Place | None:
        """That of a task that this process has taken from the broker."""
        request = self._received.get(task)
        return None if request is None else read_place(request.request_dict)

    # In the process that runs a task

    def _on_prerun(self, task: Any, task_id: str, **_: object) -> None:  # noqa: ANN401
        request = task.request
        if not self._is_ours(task) or request.is_eager:
            return
        told = vars(request)
        place = read_place(told)
        if not place.canvas and (request.delivery_info or {}).get("redelivered"):
            place = place.but(run=place.run + redeliveries(task.backend, task_id, counting=True))
        settings = None if task.name in _NOT_REPORTED else self._settings_of(request, place, task.name)
        execution = self._running[task_id] = Execution(task_id, task, place, followers(told), settings)
        self._watch_state(task)
        if self._cancel:
            execution.on_cancel(lambda: self._revoke(task_id))
        execution.begin()

    def _on_success(self, sender: Any, result: object, **_: object) -> None:  # noqa: ANN401
        if (execution := self._running.get(sender.request.id)) is not None:
            execution.result = result

    def _on_retry(self, sender: Any, request: Any, reason: Any = None, einfo: Any = None, **_: object) -> None:  # noqa: ANN401
        if not self._is_ours(sender) or request.is_eager:
            return
        execution = self._running.get(request.id)
        if execution is not None:
            execution.will_retry(reason, einfo)
        else:
            self._stopped_elsewhere(sender.name, request, getattr(reason, "exc", None) or reason)

    def _on_failure(self, sender: Any, task_id: str, exception: BaseException, einfo: Any = None, **_: object) -> None:  # noqa: ANN401
        execution = self._running.get(task_id)
        if execution is not None:
            execution.failed(exception, einfo)
        elif self._is_ours(sender) and (request := self._received.get(task_id)) is not None:
            ending = Ending.of(exception)
            # A task that was left by these has told so where it ran.
            if ending.status == "failed" and not isinstance(exception, Reject):
                again = isinstance(exception, TimeLimitExceeded) and _requeued_when_timed_out(sender)
                self._ended_elsewhere(request.request_dict, sender.name, ending, retry=again)

    def _on_postrun(self, task_id: str, state: str | None = None, retval: object = None, **_: object) -> None:
        execution = self._running.pop(task_id, None)
        if execution is not None:
            execution.end(state, retval)

    def _watch_state(self, task: Any) -> None:  # noqa: ANN401
        """Have `update_state` of a task, once and for good, tell its progress besides what it does."""
        if "update_state" in vars(task):
            return
        original = task.update_state

        # A task's class may have one of its own, with arguments of its own: it gets them as they are.
        @functools.wraps(original)
        def update_state(*values: Any, **named: Any) -> Any:  # noqa: ANN401
            done = original(*values, **named)
            self.harmless(self._tell_state, task, *values, **named)
            return done

        task.update_state = update_state

    def _tell_state(
        self,
        task: Any,  # noqa: ANN401
        task_id: str | None = None,
        state: str | None = None,
        meta: object = None,
        **_: object,
    ) -> None:
        execution = self._running.get(task_id or task.request.id)
        if execution is not None:
            execution.state(state, meta)

    # In a worker's main process

    def _on_received(self, request: Any, **_: object) -> None:  # noqa: ANN401
        self._received[request.id] = request

    def _on_revoked(self, sender: Any, request: Any, expired: bool = False, **_: object) -> None:  # noqa: ANN401
        if self._is_ours(sender):
            self._ended_elsewhere(vars(request), sender.name, Ending("cancelled", "expired" if expired else "revoked"))

    def _on_unknown(self, sender: Any, name: str, message: Any, **more: object) -> None:  # noqa: ANN401
        if getattr(sender, "app", None) is self._app():
            args, kwargs, _ = message.payload
            told = {**message.headers, "args": args, "kwargs": kwargs}
            self._ended_elsewhere(told, name, Ending.failed(f"no worker here knows the task {name}"))

    def _stopped_elsewhere(self, name: str, request: Any, error: BaseException | None) -> None:  # noqa: ANN401
        """A worker says that it retries, without a word of the task's: it has stopped it, as in a cold shutdown.

        It says so too of a message that it has acknowledged already, which nobody delivers again.
        """
        message = self._received.get(request.id)
        again = message is None or not message.acknowledged
        ending = Ending.failed(error if error is not None else "stopped by its worker")
        self._ended_elsewhere(vars(request), name, ending, retry=again)

    def _ended_elsewhere(self, told: Mapping[str, Any], name: str, ending: Ending, *, retry: bool = False) -> None:
        """Tell the end of a task that did not run here, or cannot say so itself any more."""
        if name in _NOBODYS:
            return
        place = read_place(told)
        if not place.canvas and (told.get("delivery_info") or {}).get("redelivered"):
            app = self._app()
            place = place.but(run=place.run + (redeliveries(app.backend, told["id"], counting=False) if app else 0))
        settings = self._settings_of(Context(told), place, name)
        ended_elsewhere(str(told["id"]), name, place, settings, ending, will_retry=retry)

    def _revoke(self, task_id: str) -> None:
        """Ask all workers, over the broker, in a thread of its own: the one that asks sends everybody's events."""
        app = self._app()
        if app is not None:
            act = functools.partial(self.harmless, app.control.revoke, task_id, terminate=True)
            threading.Thread(target=act, name="milepost-revoke", daemon=True).start()

    def _on_init(self, **_: object) -> None:
        # Before the pool's processes are forked, so that none has to.
        import_module("milepost_reporter.jetstream.client")

    def _on_process_init(self, **_: object) -> None:
        """Connect before the first task: what it tells of a canvas should not come after the others' end of it."""
        if (settings := self._of_process()) is not None:
            shared_link.of(settings)

    def _on_shutdown(self, **_: object) -> None:
        # A pool's process ends without its interpreter's end.
        shared_link.close()

    # Settings

    def _is_ours(self, task: Any) -> bool:  # noqa: ANN401
        return getattr(task, "app", None) is self._app()

    def _settings_of(self, request: Any, place: Place, name: str) -> Settings | None:  # noqa: ANN401
        settings = self._of_process()
        if settings is None:
            return None
        tenant = check_tenant(self._tenant(request)) if callable(self._tenant) else settings.tenant
        if not place.canvas:
            return settings.of_run(tenant, place.job, place.run, name)
        called = place.plan.name if place.plan is not None else None
        return self._of_canvas(settings).of_run(tenant, place.job, place.run, called)

    def _of_canvas(self, settings: Settings) -> Settings:
        """The same without a lease: between two tasks of a canvas nobody beats."""
        if self._unleased is None or self._unleased[0] is not settings:
            self._unleased = (settings, replace(settings, lease=0))
        return self._unleased[1]

    def _of_process(self) -> Settings | None:
        """What the environment says; looked at once a process."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                told = {**os.environ, "MILEPOST_JOB": "celery", "MILEPOST_RUN": "", "MILEPOST_NAME": ""}
                if self._tenant is not None:
                    told["MILEPOST_TENANT"] = self._tenant if isinstance(self._tenant, str) else "nobody"
                self._settings = Settings.from_env(told, _logger.warning)
            return self._settings


_reports: Final[weakref.WeakKeyDictionary[Any, TaskReports]] = weakref.WeakKeyDictionary()


def _requeued_when_timed_out(task: Any) -> bool:  # noqa: ANN401
    # Older versions of Celery have the second name only.
    acknowledged = getattr(task, "acks_on_timeout", getattr(task, "acks_on_failure_or_timeout", True))
    return bool(task.acks_late and not acknowledged)


def _current() -> Execution | None:
    task = get_current_worker_task()
    reports = _reports.get(task.app) if task is not None else None
    return None if reports is None else reports.running(task.request.id)


def _place_of(task: str) -> Place | None:
    return next((place for one in list(_reports.values()) if (place := one.place_of(task)) is not None), None)


def _harmless(act: Callable[..., Any], *values: Any) -> Any:  # noqa: ANN401
    try:
        return act(*values)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        _logger.debug("where a task stands is not told: %r", error)
        return None


def _on_publish(headers: dict[str, Any], body: object, **_: object) -> None:
    _harmless(_publisher.mark, headers, body)


def _itself(app: Any) -> Any:  # noqa: ANN401
    """The app that a stand-in stands for, as `current_app` does, and what signatures hold."""
    return getattr(app, "_get_current_object", lambda: app)()


def _is_reported(app: Any) -> bool:  # noqa: ANN401
    return _itself(app) in _reports


# One for all apps: a message does not say whose it is.
_publisher: Final = Publisher(_current, _place_of)


@functools.cache
def _begin_to_mark() -> None:
    """Once a process."""
    signals.before_task_publish.connect(_on_publish, weak=False, dispatch_uid="milepost")
    follow_groups(_publisher, _is_reported, _harmless)
