"""What child processes of the tests do; a module of its own, so that spawned ones can import it."""

import os

from milepost_reporter import Reporter


def log_and_count(reporter: Reporter, name: str) -> None:
    """Report from a child, and end as children of multiprocessing do."""
    reporter.log(f"{name} {os.getpid()}")
    with reporter.node(None, name, total=10) as node:
        node.advance(10)


def log_twice(reporter: Reporter, name: str) -> tuple[int, str]:
    """One task of a pool: which process ran it, and under which reporter."""
    reporter.log(f"{name} a")
    reporter.log(f"{name} b")
    return os.getpid(), reporter.id


def inside(reporter: Reporter) -> None:
    """A child that uses `with` itself."""
    with reporter:
        reporter.log("inside")
