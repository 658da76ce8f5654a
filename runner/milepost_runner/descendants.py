"""A process and all that comes of it, ended for sure.

A process that is stopped starts no more children, and one that is gone cannot be asked for them: so everything is
stopped first, looked for again, and then killed from the leaves' side, the root last. A child that made a session of
its own is found by its parent; one whose parent has gone, where the root adopts orphans (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

import psutil

LIMIT: Final = 5.0
"""Seconds after which what is still there is left: the kernel holds it, or it is another user's."""

_PR_SET_CHILD_SUBREAPER: Final = 36

_LOOK: Final = 0.002
"""Seconds between the first two looks; each later pause is twice as long, up to the next."""

_LOOK_MAX: Final = 0.05


def adopt_orphans() -> None:
    """From now on descendants of this process that lose their parent become its children. Nothing outside Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_tree(pid: int, limit: float = LIMIT) -> bool:
    """End a process and all its descendants; whether nothing is left after at most `limit` seconds. Blocks."""
    try:
        root = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return True
    with contextlib.suppress(psutil.Error):
        root.suspend()
    gone = end_descendants(root, limit)
    with contextlib.suppress(psutil.Error):
        root.kill()
    return _wait([root], limit) and gone


def end_descendants(root: psutil.Process, limit: float = LIMIT, spare: Iterable[int] = ()) -> bool:
    """End all that comes of a process, but for the children in `spare` and theirs, and not itself. Blocks."""
    spared = frozenset(spare)
    end = time.monotonic() + limit
    while found := _descendants(root, spared):
        stopped: set[psutil.Process] = set()
        while new := [one for one in found if one not in stopped]:
            _each(new, psutil.Process.suspend)
            stopped.update(new)
            found = _descendants(root, spared)
        _each(stopped, psutil.Process.kill)
        if not _wait(stopped, end - time.monotonic()):
            return False
    return True


def alive(process: psutil.Process) -> bool:
    """Whether it runs: a zombie only waits for its parent to look."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _descendants(root: psutil.Process, spared: frozenset[int]) -> list[psutil.Process]:
    try:
        if not spared:
            return [one for one in root.children(recursive=True) if alive(one)]
        children = [child for child in root.children() if child.pid not in spared]
    except psutil.NoSuchProcess:
        return []
    found = list(children)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += child.children(recursive=True)
    return [one for one in found if alive(one)]


def _each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], object]) -> None:
    for one in processes:
        # Gone meanwhile, or not ours to touch.
        with contextlib.suppress(psutil.Error):
            act(one)


def _wait(processes: Iterable[psutil.Process], seconds: float) -> bool:
    end = time.monotonic() + seconds
    pause = _LOOK
    while any(alive(one) for one in processes):
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LOOK_MAX)
    return True
