"""The same seed decides the same."""

from __future__ import annotations

from chaos.dice import Dice
from chaos.relay import Relay


def draws(dice: Dice) -> list[object]:
    return [dice.whole(1, 1000), dice.share(), dice.chance(0.5), dice.moments(5, 1, 100), dice.text(8)]


def test_the_same_seed_draws_the_same() -> None:
    assert draws(Dice(7)) == draws(Dice(7)) != draws(Dice(8))


def test_a_branch_draws_its_own_whatever_the_others_draw() -> None:
    """So a race between two readers changes neither's decisions."""
    quiet, busy = Dice(7), Dice(7)
    draws(busy)
    draws(busy.branch("other"))
    assert draws(quiet.branch("reader 1")) == draws(busy.branch("reader 1")) != draws(busy.branch("reader 2"))


def test_the_relay_cuts_the_nth_connection_at_the_same_byte() -> None:
    first, second = (Relay(0, Dice(7), least=1, most=9_999, cuts=9) for _ in range(2))
    cuts = [first.budget(number) for number in range(20)]
    assert cuts == [second.budget(number) for number in range(20)]
    assert len(set(cuts)) > 10
