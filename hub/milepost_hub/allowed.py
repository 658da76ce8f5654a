"""Who asks over HTTP, and whether they may: a request's grant, by its token or as somebody else's dependency says."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Header, Query
from starlette.exceptions import HTTPException

from milepost_hub.errors import KeysNotReady, TokenError
from milepost_hub.grant import Grant
from milepost_hub.job_id import read_job_id
from milepost_hub.problem import come_back

if TYPE_CHECKING:
    from milepost_hub.hub import Hub

_NOT_YET = frozenset({"keys_unavailable", "token_not_yet_valid"})


Who = Callable[..., Any]
"""A FastAPI dependency that gives the Grant of whoever asks, or raises an HTTPException."""


class ByToken:
    """Who asks, by their token: in the header `Authorization`, or as `?token=`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(
        self,
        authorization: Annotated[str | None, Header(description="Bearer, and the token")] = None,
        token: Annotated[str, Query(description="the token, where no header can be set")] = "",
    ) -> Grant:
        """The token's grant; else HTTPException: 401, or 503 when it cannot be told yet."""
        scheme, _, bearer = (authorization or "").partition(" ")
        return await self._verify(bearer.strip() if scheme.lower() == "bearer" else token)

    async def _verify(self, token: str) -> Grant:
        verifier = self._hub.verifier
        try:
            try:
                return verifier.verify(token)
            except KeysNotReady:
                await verifier.refresh()
                return verifier.verify(token)
        except TokenError as error:
            self._hub.errors[error.code] = self._hub.errors.get(error.code, 0) + 1
            if error.code in _NOT_YET:
                raise come_back(error.message) from error
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(HTTPStatus.UNAUTHORIZED, error.message, headers) from error


def allowed(who: Who, scope: str, what: str) -> Any:  # noqa: ANN401 - as FastAPI types `Depends`
    """The dependency that gives the grant of who asks, if it has the scope; else HTTPException: 403, or `who`'s own."""
    asking = Depends(who)

    async def check(grant: Grant = asking) -> Grant:
        if not grant.allows(scope):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"{what} needs the scope `{scope}`, which was not granted")
        return grant

    return Depends(check)


def named_job(grant: Grant, scope: str, job: str) -> str:
    """The job that a path names, if the grant has the scope for it; else HTTPException: 404 for no id, or 403."""
    try:
        job = read_job_id(job)
    except ValueError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
    if not grant.may(scope, job):
        raise HTTPException(HTTPStatus.FORBIDDEN, "this job is not among those that were granted")
    return job
