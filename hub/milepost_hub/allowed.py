"""Who asks over HTTP, and whether they may: the token of a request, as its grant."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import Header, Query
from starlette.exceptions import HTTPException

from milepost_hub.errors import KeysNotReady, TokenError
from milepost_hub.grant import Grant
from milepost_hub.job_id import read_job_id
from milepost_hub.problem import come_back

if TYPE_CHECKING:
    from milepost_hub.hub import Hub

_NOT_YET = frozenset({"keys_unavailable", "token_not_yet_valid"})


class Allowed:
    """Who asks, by their token: in the header `Authorization`, or as `?token=`."""

    def __init__(self, hub: Hub, scope: str, what: str) -> None:
        self._hub = hub
        self._scope = scope
        self._what = what

    async def __call__(
        self,
        authorization: Annotated[str | None, Header(description="Bearer, and the token")] = None,
        token: Annotated[str, Query(description="the token, where no header can be set")] = "",
    ) -> Grant:
        """The token's grant, if it has the scope; else HTTPException: 401, 403, or 503 when it cannot be told yet."""
        scheme, _, bearer = (authorization or "").partition(" ")
        grant = await self._verify(bearer.strip() if scheme.lower() == "bearer" else token)
        if not grant.allows(self._scope):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"the token's scope does not allow {self._what}")
        return grant

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


def named_job(grant: Grant, scope: str, job: str) -> str:
    """The job that a path names, if the grant has the scope for it; else HTTPException: 404 for no id, or 403."""
    try:
        job = read_job_id(job)
    except ValueError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
    if not grant.may(scope, job):
        raise HTTPException(HTTPStatus.FORBIDDEN, "the token is not good for this job")
    return job
