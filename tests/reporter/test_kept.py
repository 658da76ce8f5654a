"""Things kept, bounded in number and in bytes."""

from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.kept import Kept


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_the_newest_within_both_bounds(puts: list[tuple[int, int]]) -> None:
    """As a plain list would have it, and never more than the bounds."""
    kept: Kept[int] = Kept(5, 100)
    model: dict[int, int] = {}
    for turn, (key, size) in enumerate(puts):
        kept.put(key, {"key": key, "turn": turn, "size": size}, size)
        model[key] = size
        while len(model) > 5 or sum(model.values()) > 100:
            del model[next(iter(model))]
        assert [item["key"] for item in kept.values()] == list(model)
        assert [item["size"] for item in kept.values()] == list(model.values())
        assert all((kept.get(other) is None) == (other not in model) for other in range(10))
