"""A scenario from end to end, in small."""

from __future__ import annotations

from chaos.run import run
from chaos.verdict import Verdict


async def quick(name: str, seed: int) -> Verdict:
    [verdict] = [verdict async for verdict in run([name], seed, quick=True)]
    return verdict


async def test_two_ends_in_small_and_the_same_seed_again() -> None:
    """Real processes, readers of all three sorts; the verdict is right, and the second run decides as the first."""
    first, second = await quick("two-ends", 7), await quick("two-ends", 7)
    assert (first.problems, first.ok, second.ok) == ([], True, True)
    assert first.ends_told() == "1 / 1 / 1"
    assert (first.published, first.late, first.readers) == (84, 20, 32)
    assert first.decisions == second.decisions != {}
    assert (await quick("two-ends", 8)).decisions != first.decisions
