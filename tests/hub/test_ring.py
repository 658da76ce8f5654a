"""A ring holds the last events without a hole, within its bounds, and never more than all rings may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from milepost_hub.delivery import Delivery
from milepost_hub.ring import Ring, Rings


def delivery(position: int, size: int = 10) -> Delivery:
    return Delivery(b"x" * size, position=position, cursor=f"{position}-1")


def positions(held: list[Delivery] | None) -> list[int | None]:
    assert held is not None
    return [one.position for one in held]


def a_ring(most_events: int = 1000, most_bytes: int = 1_000_000) -> Ring:
    ring = Ring(Rings(most_events, most_bytes, 10_000_000))
    ring.begin(0)
    return ring


def test_an_event_whose_predecessors_are_not_known_is_where_it_begins() -> None:
    ring = Ring(Rings(10, 1_000_000, 1_000_000))
    assert ring.between(0, 100) is None
    ring.append(delivery(5))
    assert ring.between(4, 100) is None
    assert (ring.between(5, 100), ring.knows(5, "5-1"), ring.knows(5, "5-2")) == ([], True, False)
    ring.append(delivery(9))
    assert positions(ring.between(5, 100)) == [9]


def test_a_cursor_is_known_by_all_of_it() -> None:
    """The same position in another life of the log is another place."""
    ring = a_ring()
    for position in (3, 5, 8):
        ring.append(delivery(position))
    assert ring.knows(5, "5-1")
    assert not ring.knows(5, "5-7")
    assert not ring.knows(4, "4-1")


def test_the_place_behind_which_it_begins_moves_as_it_is_trimmed() -> None:
    """With its cursor: whoever stands there lacks nothing, whoever stands before it does."""
    ring = Ring(Rings(2, 1_000_000, 1_000_000))
    ring.begin(1, "1-1")
    for position in (3, 5, 8, 9):
        ring.append(delivery(position))
    assert (ring.base, ring.knows(5, "5-1"), ring.knows(3, "3-1"), ring.knows(1, "1-1")) == (5, True, False, False)
    assert ring.between(3, 100) is None
    assert positions(ring.between(5, 100)) == [8, 9]


@given(st.integers(1, 8), st.lists(st.integers(1, 3), max_size=20), st.integers(0, 30))
def test_what_was_read_goes_before_what_is_held(most: int, steps: list[int], split: int) -> None:
    """As far back as there is room, and without a hole."""
    places = [sum(steps[: count + 1]) for count in range(len(steps))]
    before, after = places[:split], places[split:]
    ring = Ring(Rings(most, 1_000_000, 10_000_000))
    ring.begin(before[-1] if before else 0)
    for position in after:
        ring.append(delivery(position))
    if ring.base == (before[-1] if before else 0):
        ring.prepend(0, None, [delivery(position) for position in before])
    assert len(ring) == min(most, len(places))
    assert ring.base is not None
    assert positions(ring.between(ring.base, 1_000)) == places[len(places) - len(ring) :]


class SeveralRings(RuleBasedStateMachine):
    """Three rings and their common bound, whatever is done to them."""

    def __init__(self) -> None:
        super().__init__()
        self.rings = Rings(5, 900, 1_500)
        self.each = [Ring(self.rings) for _ in range(3)]
        self.delivered: list[list[int]] = [[], [], []]
        self.position = 0
        for ring in self.each:
            ring.begin(0)

    @rule(which=st.integers(0, 2), size=st.integers(1, 400))
    def append(self, which: int, size: int) -> None:
        self.position += 1
        self.each[which].append(delivery(self.position, size))
        self.delivered[which].append(self.position)

    @rule(which=st.integers(0, 2))
    def begin(self, which: int) -> None:
        self.position += 1
        self.each[which].begin(self.position)
        self.delivered[which].clear()

    @invariant()
    def bounded(self) -> None:
        assert self.rings.size <= 1_500
        assert self.rings.size == sum(ring.size for ring in self.each)
        assert set(self.rings.holding) == {ring for ring in self.each if len(ring)}
        for ring in self.each:
            assert len(ring) <= 5
            assert ring.size <= 900

    @invariant()
    def without_a_hole(self) -> None:
        for ring, delivered in zip(self.each, self.delivered, strict=True):
            assert ring.base is not None
            behind = [position for position in delivered if position > ring.base]
            assert positions(ring.between(ring.base, self.position)) == behind


TestSeveralRings = SeveralRings.TestCase
