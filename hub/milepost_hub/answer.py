"""What the routes of jobs answer: JSON that nobody keeps."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Response

JOBS = "/api/jobs"
"""Where the routes are, from the hub's own address on."""

NO_STORE = {"Cache-Control": "no-store"}


def json_answer(body: bytes, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with this body, JSON already."""
    return Response(body, status, {**NO_STORE, **(headers or {})}, "application/json")
