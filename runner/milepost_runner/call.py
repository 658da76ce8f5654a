"""One call of a handler, and what came of it as an `Outcome`. Nothing that a handler raises leaves this module."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from milepost_reporter import current
from milepost_reporter.cancel import Cancelled, CancelToken
from milepost_reporter.ending import Ending
from milepost_reporter.payload import MAX_DETAILS, MAX_MESSAGE
from pydantic_core import from_json, to_json

from milepost_runner.errors import BadPayload
from milepost_runner.executor import CANCELLED, COMPLETED, FAILED, Outcome
from milepost_runner.handler import Handler
from milepost_runner.progress import Progress

MAX_RESULT: Final = 49_152
"""Bytes of a result as JSON, unless told otherwise."""

_AROUND: Final = b"[[[[%b]]]]"
"""As deep as a result stands in records and messages, or a little deeper."""

_STOPS: Final = (asyncio.CancelledError, KeyboardInterrupt)
"""What a job that was told to stop may be left by; without having been told, it has failed."""


class Call(NamedTuple):
    """A handler and what it is to be called with. `max_result`: bytes of the result's JSON."""

    handler: Handler
    payload: Any
    progress: Progress
    cancel: CancelToken
    max_result: int = MAX_RESULT

    def here(self) -> Outcome:
        """Call it in this thread, an async one in an event loop of its own. Never raises."""
        try:
            with current.using(self.progress), _here_only():
                returned = self._call()
                if inspect.isawaitable(returned):
                    returned = asyncio.run(_awaited(returned))
            return self._returned(returned)
        except BaseException as error:
            return self.left_by(error)

    async def in_loop(self) -> Outcome:
        """Call and await it in the running event loop. Never raises, also when its task is cancelled."""
        try:
            with current.using(self.progress), _here_only():
                returned = self._call()
                if inspect.isawaitable(returned):
                    returned = await returned
            return self._returned(returned)
        except BaseException as error:
            return self.left_by(error)

    def left_by(self, error: BaseException) -> Outcome:
        """What an exception means that left the handler."""
        if self._is_stop(error):
            return Outcome(CANCELLED)
        if isinstance(error, SystemExit) and (error.code is None or (isinstance(error.code, int) and not error.code)):
            return Outcome(COMPLETED)
        if isinstance(error, BadPayload):
            return failed(str(error)[:MAX_MESSAGE], _details(error.reasons), final=True)
        return Outcome(FAILED, error=Ending.failed(error).error)

    def _is_stop(self, error: BaseException) -> bool:
        """Whether it ended because it was told to; a task group's exception when that is true of all in it."""
        if isinstance(error, BaseExceptionGroup):
            return all(map(self._is_stop, error.exceptions))
        return isinstance(error, Cancelled) or (isinstance(error, _STOPS) and self.cancel.requested)

    def _call(self) -> Any:  # noqa: ANN401 - the user's
        self.progress.obey(self.cancel)
        given = self.handler.read(self.payload)
        return self.handler.call(given, self.progress, self.cancel)

    def _returned(self, value: Any) -> Outcome:  # noqa: ANN401 - the user's
        try:
            result = to_json(value, inf_nan_mode="null")
            if len(result) > self.max_result:
                return failed(f"the result has {len(result):,} bytes, more than {self.max_result:,}", final=True)
            # Readers give up what is nested 200 deep, this within what they read, and numbers of 4,300 digits.
            json.dumps(from_json(_AROUND % result))
        except Exception as error:
            words = f"what {self.handler.name} returned is no JSON that can be read: {error}"
            return failed(words[:MAX_MESSAGE], final=True)
        return Outcome(COMPLETED, result)


@contextlib.contextmanager
def _here_only() -> Iterator[None]:
    """A process that the handler has forked, and that comes back from it, ends: what follows is its parent's to do.

    In a worker that is an event loop with connections, which two processes would share.
    """
    pid = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != pid:
            os._exit(0)


def failed(message: str, details: str | None = None, *, final: bool = False) -> Outcome:
    """A failure in words."""
    error = {"message": message} if details is None else {"message": message, "details": details}
    return Outcome(FAILED, error=error, final=final)


def given_up(cancel: CancelToken, message: str) -> Outcome:
    """What a handler came to that had to be ended: cancelled when it had been told to stop, else failed."""
    return Outcome(CANCELLED) if cancel.requested else failed(message)


def _details(reasons: list[dict[str, Any]]) -> str:
    """As many reasons as there is room for, as JSON."""
    told = [json.dumps(reason, default=str) for reason in reasons]
    while told and sum(map(len, told)) + 2 * len(told) > MAX_DETAILS:
        told.pop()
    return f"[{', '.join(told)}]"


async def _awaited(returned: Any) -> Any:  # noqa: ANN401 - the user's
    with _here_only():  # before asyncio takes the loop apart, whose selector is the parent's too
        return await returned
