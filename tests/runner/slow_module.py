"""A module of handlers that takes for ever to load in any process but the one that runs the tests."""

from __future__ import annotations

import time

from tests.runner.handlers import handler

__all__ = ["handler"]

if __name__ == "tests.runner.slow_module":
    time.sleep(3600)
