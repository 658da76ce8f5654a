"""The hub's desk: jobs that clients submit over HTTP go to the runner's queue."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from milepost_hub.errors import DeskUnavailable, JobEnded, JobUnknown, SubmitRefused
from milepost_runner.errors import (
    BadPayload,
    HasEnded,
    KeyTaken,
    NoSuchJob,
    QueueUnavailable,
    Refused,
    TooLarge,
    UnknownHandler,
)
from milepost_runner.jobs import Jobs

_STATUSES: Final[dict[type[Refused], HTTPStatus]] = {
    UnknownHandler: HTTPStatus.NOT_FOUND,
    KeyTaken: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BadPayload: HTTPStatus.UNPROCESSABLE_ENTITY,
}


class Desk:
    """The hub's `Desk` (`milepost_hub.desk`) on the runner's `Jobs`, whose errors become the hub's."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    @property
    def open(self) -> bool:
        """Whether jobs can be taken just now."""
        return self._jobs.trouble is None

    async def submit(self, tenant: str, name: str, payload: Any, key: str | None) -> str:  # noqa: ANN401 - any JSON
        """Take a job; return its id."""
        with self._translated():
            return (await self._jobs.submissions.submit(tenant, name, payload, key=key)).job

    async def submit_again(self, tenant: str, job: str) -> str:
        """Take a job of the same name and payload; return its id."""
        with self._translated():
            return (await self._jobs.submissions.submit_again(tenant, job)).job

    async def submitted_as(self, tenant: str, job: str) -> str | None:
        """The name that a job was submitted under; None when it was not submitted here."""
        with self._translated():
            return await self._jobs.submissions.name_of(tenant, job)

    async def cancel(self, tenant: str, job: str) -> bool:
        """Have a job stopped; False when its own program has to be asked."""
        if self._jobs.up and self._jobs.trouble is not None:
            # No record can be read, but whoever runs the job hears requests to it all the same.
            return False
        with self._translated():
            try:
                await self._jobs.submissions.cancel(tenant, job)
            except NoSuchJob:
                return False
            return True

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        if self._jobs.trouble is not None:
            raise DeskUnavailable(self._jobs.trouble)
        try:
            yield
        except Refused as refused:
            raise SubmitRefused(_STATUSES[type(refused)], str(refused), _in_payload(refused)) from refused
        except NoSuchJob as error:
            raise JobUnknown(str(error)) from error
        except HasEnded as error:
            raise JobEnded(str(error)) from error
        except QueueUnavailable as error:
            raise DeskUnavailable(str(error)) from error


def _in_payload(refused: Refused) -> list[dict[str, Any]]:
    """The reasons, as seen from the whole submission."""
    return [{**reason, "loc": ["payload", *reason["loc"]]} for reason in refused.reasons]
