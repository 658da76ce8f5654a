"""Requests to running jobs: `{"action":"cancel"}` on a job's `.control`, answered `{"ok":true}`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

from milepost_reporter import subject
from milepost_reporter.jetstream.api import Api
from pydantic_core import from_json

_PREFIX: Final = b"tenant."
_SUFFIX: Final = b".control"
_NO_ANSWERS: Final = (b"$", b"tenant.")
"""Who asks names where the answer goes: NATS' own interface would obey us, and a log keep it."""

OnCancel = Callable[[str | None], None]


class Control:
    """Listens for the jobs that run here. Belongs to one event loop."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._jobs: dict[bytes, OnCancel] = {}
        self.refused = 0
        """Requests that were none."""

    async def listen(self, tenant: str, job: str, on_cancel: OnCancel) -> None:
        """Call back when a job is told to stop, with the reason if there is one; returns when it is heard for sure."""
        place = subject.control(tenant, job)
        self._jobs[place.encode()] = on_cancel
        waiting = self._api.hear(place)
        if waiting is not None:
            await asyncio.shield(waiting)

    def leave(self, tenant: str, job: str, on_cancel: OnCancel) -> None:
        """Listen no more for a job, unless somebody else does: a run that was lost may have been followed here."""
        place = subject.control(tenant, job)
        if self._jobs.get(place.encode()) == on_cancel:
            del self._jobs[place.encode()]
            self._api.unhear(place)

    def heard(self, place: bytes, payload: bytes, reply: bytes | None) -> bool:
        """Take in a message of the connection's; False when it is none of these."""
        if not (place.startswith(_PREFIX) and place.endswith(_SUFFIX)):
            return False
        on_cancel = self._jobs.get(place)
        if on_cancel is None:
            return True
        why_not = None
        try:
            reason = _read(payload)
        except ValueError as error:
            self.refused += 1
            why_not = str(error)
        else:
            on_cancel(reason)
        if reply is not None and not reply.startswith(_NO_ANSWERS):
            answer = {"ok": True} if why_not is None else {"ok": False, "message": why_not}
            self._api.send(reply.decode("utf-8", "replace"), json.dumps(answer).encode())
        return True


def _read(payload: bytes) -> str | None:
    """The reason in a request to cancel. ValueError when it asks for something else."""
    try:
        told = from_json(payload)
    except ValueError:
        raise ValueError("the request is no JSON") from None
    if not isinstance(told, dict) or told.get("action") != "cancel":
        raise ValueError('the only request is {"action":"cancel"}')
    reason = told.get("reason")
    return reason[:1000] if isinstance(reason, str) and reason else None
