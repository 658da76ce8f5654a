"""What the hub asks of whoever takes submitted jobs: the runner, or a program that embeds the hub."""

from __future__ import annotations

from typing import Any, Protocol


class Desk(Protocol):
    """Takes jobs for every tenant. All of it is called on the hub's event loop, and answers within seconds.

    Every coroutine may raise `errors.DeskUnavailable`: it is asked again later.
    """

    async def submit(self, tenant: str, name: str, payload: Any, key: str | None) -> str:  # noqa: ANN401 - any JSON
        """Take a job.

        name: what is to be done, by its handler's name. payload: any JSON. key: the client's own name for this
        submission; the same one again, with the same name and payload, is the same job.

        Returns:
            The job's id.

        Raises:
            SubmitRefused: it cannot be taken as it is.
        """
        ...

    async def submit_again(self, tenant: str, job: str) -> str:
        """Take a job of the same name and payload as this one; return the new job's id.

        Raises:
            JobUnknown: no such job was submitted here.
            SubmitRefused: it cannot be taken any more.
        """
        ...

    async def submitted_as(self, tenant: str, job: str) -> str | None:
        """The handler's name of a job; None when it was not submitted here."""
        ...

    async def cancel(self, tenant: str, job: str) -> bool:
        """Have a job stopped, whether it waits or runs; what comes of it is told by the job's own events.

        Returns:
            False when it was not submitted here: then its own program has to be asked.

        Raises:
            JobEnded: there is nothing left to stop.
        """
        ...
