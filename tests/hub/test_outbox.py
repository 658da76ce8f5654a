"""What is held for a client that does not read: all of it in order, or the newest of each key, always counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from milepost_hub.channel import Batch, Channel
from milepost_hub.delivery import Delivery
from milepost_hub.outbox import Outbox
from milepost_hub.ring import Ring, Rings

RINGS = Rings(1000, 1_000_000, 1_000_000)
CHANNELS = [Channel(topic, b"", Ring(RINGS)) for topic in (("acme", "1"), ("acme", "2"), ("rival", "1"))]
A_WRITE = 64 * 1024

keys = st.none() | st.sampled_from(["n1", "n2", "n3"])
channels = st.sampled_from(CHANNELS)


def batch(channel: Channel, *frames: tuple[bytes, str | None]) -> Batch:
    return Batch(channel, [Delivery(frame, key) for frame, key in frames])


def drained(outbox: Outbox) -> list[bytes]:
    """Everything it holds, take by take."""
    taken = []
    while outbox:
        taken.append(outbox.take()[0])
    return taken


def test_what_must_all_arrive_arrives_in_order() -> None:
    outbox = Outbox()
    for data in (b"one", b"two", b"three"):
        outbox.append(data)
    assert (outbox.messages, outbox.size) == (3, 11)
    assert outbox.take() == (b"onetwothree", 3)
    assert (outbox.messages, outbox.size, bool(outbox)) == (0, 0, False)


def test_a_batch_waits_as_the_very_bytes_that_others_hold() -> None:
    """A thousand stalled clients of one job share one copy."""
    outbox = Outbox()
    shared = batch(CHANNELS[0], (b"a" * 600, None), (b"b" * 600, None))
    outbox.append(shared.data, 2)
    data, messages = outbox.take()
    assert data is shared.data
    assert messages == 2


def test_of_one_node_the_newest_is_kept_at_the_end() -> None:
    """It took the older one's place in the count, and its own place in the order."""
    outbox = Outbox()
    outbox.conflate(batch(CHANNELS[0], (b"n1 at 10%", "n1"), (b"n2 at 50%", "n2"), (b"n1 at 20%", "n1")))
    assert (outbox.messages, outbox.size) == (2, 18)
    assert outbox.take() == (b"n2 at 50%n1 at 20%", 2)


def test_an_end_is_never_overtaken_nor_dropped() -> None:
    """What has no key stays where it was, between the progress before it and after it."""
    outbox = Outbox()
    outbox.conflate(batch(CHANNELS[0], (b"[1:run]", "1"), (b"[log]", None), (b"[2:run]", "2")))
    outbox.conflate(batch(CHANNELS[0], (b"[1:done]", "1"), (b"[end]", None), (b"[1:next run]", "1")))
    assert outbox.take()[0] == b"[log][2:run][end][1:next run]"


def test_the_same_node_of_another_job_or_tenant_is_another() -> None:
    outbox = Outbox()
    for number, channel in enumerate(CHANNELS):
        outbox.conflate(batch(channel, (b"%d" % number, "n1")))
    assert outbox.take() == (b"012", 3)


def test_no_take_is_much_larger_than_one_write() -> None:
    """Joined bytes are no longer shared, so they are joined a piece at a time."""
    outbox = Outbox()
    for _ in range(100):
        outbox.append(b"x" * 1000)
    sizes = [len(data) for data in drained(outbox)]
    assert sum(sizes) == 100_000
    assert max(sizes) <= A_WRITE


def test_a_frame_larger_than_a_write_goes_alone() -> None:
    outbox = Outbox()
    large = b"x" * (A_WRITE + 1)
    for data in (b"before", large, b"after"):
        outbox.append(data)
    assert drained(outbox) == [b"before", large, b"after"]


@given(st.lists(st.lists(st.tuples(channels, keys), min_size=1, max_size=5), max_size=20))
def test_conflation_keeps_the_newest_of_each_key_and_everything_else_in_order(
    batches: list[list[tuple[Channel, str | None]]],
) -> None:
    """Said without a model: what comes out is what went in, less those that a newer one of their key replaced."""
    outbox, sent = Outbox(), list[tuple[Channel, str | None]]()
    for frames in batches:
        channel = frames[0][0]
        numbered = [(b"%08d" % (len(sent) + offset), key) for offset, (_, key) in enumerate(frames)]
        sent += [(channel, key) for _, key in frames]
        outbox.conflate(batch(channel, *numbered))
    data = b"".join(drained(outbox))
    kept = [int(data[start : start + 8]) for start in range(0, len(data), 8)]
    newest = {(channel.topic, key): number for number, (channel, key) in enumerate(sent)}
    expected = [
        number for number, (channel, key) in enumerate(sent) if key is None or newest[channel.topic, key] == number
    ]
    assert kept == expected


class OutboxMachine(RuleBasedStateMachine):
    """An outbox beside a plain list that does the same the slow way."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.model: list[tuple[object, bytes, int]] = []

    @rule(data=st.binary(min_size=1, max_size=40_000), messages=st.integers(1, 50))
    def append(self, data: bytes, messages: int) -> None:
        self.outbox.append(data, messages)
        self.model.append((None, data, messages))

    @rule(
        channel=channels,
        frames=st.lists(st.tuples(st.binary(min_size=1, max_size=30_000), keys), min_size=1, max_size=6),
    )
    def conflate(self, channel: Channel, frames: list[tuple[bytes, str | None]]) -> None:
        self.outbox.conflate(batch(channel, *frames))
        for frame, key in frames:
            name = None if key is None else (channel.topic, key)
            self.model = [held for held in self.model if name is None or held[0] != name]
            self.model.append((name, frame, 1))

    @rule()
    def take(self) -> None:
        data, messages = self.outbox.take()
        taken, size = 0, 0
        while taken < len(self.model) and (taken == 0 or size + len(self.model[taken][1]) <= A_WRITE):
            size += len(self.model[taken][1])
            taken += 1
        assert data == b"".join(held[1] for held in self.model[:taken])
        assert messages == sum(held[2] for held in self.model[:taken])
        del self.model[:taken]

    @rule()
    def clear(self) -> None:
        self.outbox.clear()
        self.model.clear()

    @invariant()
    def counts_add_up(self) -> None:
        assert self.outbox.messages == sum(held[2] for held in self.model)
        assert self.outbox.size == sum(len(held[1]) for held in self.model)
        assert bool(self.outbox) == bool(self.model)


TestOutboxMachine = OutboxMachine.TestCase
