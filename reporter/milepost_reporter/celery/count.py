"""What has to be counted across workers, in the result backend, where it holds values under keys."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from celery.backends.base import BaseKeyValueStoreBackend

from milepost_reporter.celery.place import Part

_AT_ONCE: Final = 50
"""Marks that are asked for in one request."""


def can_count(app: Any) -> bool:  # noqa: ANN401 - Celery has no types
    """Whether the app's result backend gives values under several keys: then a group's members can tell when all are
    done.
    """
    backend = app.backend
    # Amazon S3's gives them one by one only.
    return isinstance(backend, BaseKeyValueStoreBackend) and type(backend).mget is not BaseKeyValueStoreBackend.mget


def is_last(backend: Any, path: tuple[Part, ...]) -> bool:  # noqa: ANN401
    """Note that a branch has ended; whether that was the last one of every plain group around it.

    Each member leaves a mark of its own, so that one that runs twice counts once, and looks for the others' in any
    order until it misses one: for all members together that comes to about n log n looks. When several find all there,
    each says so: only one end is kept.
    """
    for gid, size, index in reversed(path):
        backend.set(_mark(backend, gid, index), "1")
        others = [one for one in range(size) if one != index]
        random.shuffle(others)
        for start in range(0, len(others), _AT_ONCE):
            if not _has_all(backend, [_mark(backend, gid, one) for one in others[start : start + _AT_ONCE]]):
                return False
    return True


def redeliveries(backend: Any, task: str, *, counting: bool) -> int:  # noqa: ANN401
    """How often a task was delivered again after its worker was lost; `counting`: once more now."""
    if not isinstance(backend, BaseKeyValueStoreBackend):
        return 1
    key = backend.get_key_for_task(f"milepost-redelivered-{task}")
    known = int(backend.get(key) or 0)
    if counting:
        known += 1
        backend.set(key, str(known))
    return known


def _has_all(backend: Any, keys: list[Any]) -> bool:  # noqa: ANN401
    values = backend.mget(keys)
    # In order, None where there is none; of Memcached's and Couchbase's only those that are there, by key.
    found = list(values.values() if isinstance(values, Mapping) else values)
    return len(found) == len(keys) and all(found)


def _mark(backend: Any, gid: str, index: int) -> Any:  # noqa: ANN401 - text or bytes, as the backend has it
    return backend.get_key_for_task(f"milepost-group-{gid}-{index}")
