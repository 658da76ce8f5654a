from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from milepost_runner.descendants import alive, end_descendants, end_tree

from tests.runner.marked import NAME, marked
from tests.waiting import eventually

PROGRAM = """
import sys, time
from milepost_runner.descendants import adopt_orphans
from tests.runner.handlers import leave_family
adopt_orphans()
leave_family()
print("ready", flush=True)
time.sleep(3600)
"""

ALONE = 9
"""Processes of that program and its family, at least: three shells with a sleep each, two Pythons, a busy shell."""


@pytest.fixture
def mark() -> Iterator[str]:
    mark = secrets.token_hex(8)
    yield mark
    left = marked(mark)
    for process in left:
        process.kill()
    assert not left


def family(mark: str) -> subprocess.Popen[bytes]:
    """A program with children that do not listen, among them orphans in sessions of their own."""
    root = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, env={**os.environ, NAME: mark})
    assert root.stdout is not None
    assert root.stdout.readline() == b"ready\n"
    root.stdout.close()
    eventually(lambda: len(marked(mark)) >= ALONE)
    return root


def test_a_tree_ends_with_children_that_are_deaf_in_sessions_of_their_own_or_orphans(mark: str) -> None:
    root = family(mark)
    assert end_tree(root.pid)
    root.wait()
    assert not marked(mark)


def test_descendants_end_and_their_root_does_not(mark: str) -> None:
    root = family(mark)
    assert end_descendants(psutil.Process(root.pid))
    assert [process.pid for process in marked(mark) if alive(process)] == [root.pid]
    root.kill()
    root.wait()


def test_a_child_that_is_spared_keeps_its_own_children(mark: str) -> None:
    environment = {**os.environ, NAME: mark}
    spared = subprocess.Popen(["sh", "-c", "sleep 3600 & wait"], env=environment)  # noqa: S607
    other = subprocess.Popen(["sh", "-c", "sleep 3600 & wait"], env=environment)  # noqa: S607
    eventually(lambda: len(marked(mark)) == 4)
    others = {child.pid for child in psutil.Process().children()} - {other.pid}
    assert end_descendants(psutil.Process(), spare=others)
    other.wait()
    assert len(marked(mark)) == 2
    assert end_tree(spared.pid)
    spared.wait()


def test_a_process_that_is_gone_has_ended() -> None:
    gone = subprocess.Popen(["true"])  # noqa: S607
    gone.wait()
    assert end_tree(gone.pid)
