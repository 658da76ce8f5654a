"""How a job or a node ended, told by the exception that left it, or by none."""

import asyncio
import traceback
from typing import NamedTuple, Self

from milepost_reporter.cancel import Cancelled
from milepost_reporter.payload import tail, text

_STOPPED = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, Cancelled)
"""What leaves a block because somebody wanted it to."""


class Ending(NamedTuple):
    """`status` is completed, failed or cancelled; `error` the wire's `{message, details}` of a failure."""

    status: str
    message: str | None = None
    error: dict[str, str] | None = None

    @classmethod
    def of(cls, error: BaseException | None) -> Self:
        """How a `with` block ended that `error` left."""
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            return cls("completed")
        return cls("cancelled") if _is_stop(error) else cls.failed(error)

    @classmethod
    def failed(cls, error: object) -> Self:
        """Failed, because of an exception, for a reason in words, or without one."""
        if isinstance(error, BaseException):
            return cls("failed", None, _told(error))
        return cls("failed", None, {"message": "failed" if error is None else text("error", error)})


def _is_stop(error: BaseException) -> bool:
    """Whether somebody wanted it to end; a group of exceptions when that is true of all."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_stop, error.exceptions))
    return isinstance(error, _STOPPED)


def _told(error: BaseException) -> dict[str, str]:
    message = "".join(traceback.format_exception_only(error)).strip()
    details = "".join(traceback.format_exception(error))
    return {"message": text("message", message), "details": tail(details)}
