"""What workers of the tests do, with bars; a module of its own, so that spawned ones can import it."""

from __future__ import annotations

from milepost_reporter.tqdm import tqdm


def count(number: int) -> int:
    """A bar of the worker's own."""
    return sum(1 for _ in tqdm(range(number), desc=f"worker {number}", leave=False))
