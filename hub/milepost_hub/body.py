"""A request's body, of bounded size and in bounded time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

_PASSED_OVER = 1024 * 1024
"""Bytes of a body that is too long that are read all the same."""
# Else uvicorn goes on reading what nobody waits for, however much comes.
_NO_MORE = {"Connection": "close"}


async def read_body(request: Request, most: int, patience: float) -> bytes:
    """All of it, at most `most` bytes.

    Raises:
        HTTPException: 413, it is longer; 408, it has not come within `patience` seconds; 400, the client has gone.
    """
    try:
        async with asyncio.timeout(patience):
            return await _read(request, most)
    except TimeoutError as error:
        why = f"the body has not come within {patience:g} seconds"
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, why, _NO_MORE) from error
    except ClientDisconnect as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the connection has ended before the body had") from error


async def _read(request: Request, most: int) -> bytes:
    """The body; of one that is too long no more is kept.

    Clients send all of it before they read the answer, and a connection closed with bytes unread takes the answer with
    it. So what is too long is read to its end, unless it is so long that this would be a favour to an attacker.
    """
    told = request.headers.get("content-length", "0")
    if int(told) > most + _PASSED_OVER:  # h11 lets nothing through but digits
        raise _too_long(most, _NO_MORE)
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most + _PASSED_OVER:
            raise _too_long(most, _NO_MORE)
        if size <= most:
            body += chunk
    if size > most:
        raise _too_long(most)
    return bytes(body)


def _too_long(most: int, headers: dict[str, str] | None = None) -> HTTPException:
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {most} bytes", headers)
