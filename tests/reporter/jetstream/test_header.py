"""Fields of a header block whoever wrote it, and times to the nanosecond."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.jetstream import header

BLOCK = b"NATS/1.0\r\nA: 1\r\nB:2 \r\na: lower\r\nA: last\r\nAB: other\r\nEmpty:\r\n\r\n"

YEARS = st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9 + 999_999_999)


@pytest.mark.parametrize(
    ("name", "value"),
    [(b"A", b"last"), (b"B", b"2"), (b"a", b"lower"), (b"AB", b"other"), (b"Empty", b""), (b"C", None), (b"1", None)],
)
def test_the_last_value_counts(name: bytes, value: bytes | None) -> None:
    """A publisher may write a field before the server does; names are told apart by case and to their end."""
    assert header.field(BLOCK, name) == value


def test_no_block_has_no_fields() -> None:
    assert header.field(None, b"A") is None
    assert header.status(None) is None
    assert header.number(None, b"A") is None


@given(st.binary(max_size=60), st.sampled_from([b"Nats-Sequence", b"X"]), st.integers(0, 2**63 - 1))
def test_what_the_server_adds_is_found_behind_anything(published: bytes, name: bytes, value: int) -> None:
    """The server cuts two bytes off the block that was published, and writes its own lines."""
    block = b"NATS/1.0\r\n" + published + b"\r\n%b: %d\r\nOther: x\r\n\r\n" % (name, value)
    assert header.number(block, name) == value


@given(st.binary(max_size=80), st.binary(max_size=10))
def test_any_bytes_are_read_without_an_error(block: bytes, name: bytes) -> None:
    assert isinstance(header.field(block, name), bytes | str | None)
    assert isinstance(header.number(block, name), int | None)
    assert isinstance(header.status(block), int | None)
    assert isinstance(header.description(block), str)


@pytest.mark.parametrize("value", [b"", b"-1", b"1.0", b"0x1", b"1" * 20, "٣".encode(), b"1 2"])
def test_what_is_no_number_is_none(value: bytes) -> None:
    assert header.number(b"NATS/1.0\r\nN: " + value + b"\r\n\r\n", b"N") is None


@pytest.mark.parametrize(
    ("block", "status", "words"),
    [
        (b"NATS/1.0 404 Message Not Found\r\n\r\n", 404, "Message Not Found"),
        (b"NATS/1.0 503\r\nNats-Subject: x\r\n\r\n", 503, ""),
        (b"NATS/1.0\r\nStatus: 503\r\n\r\n", None, ""),
        (b"NATS/1.0 50\r\n\r\n", None, ""),
        (b"NATS/1.0 5x3 \r\n\r\n", None, ""),
        (b"abc", None, ""),
    ],
)
def test_the_status_is_in_the_first_line(block: bytes, status: int | None, words: str) -> None:
    """A field of that name is not it."""
    assert header.status(block) == status
    assert header.description(block) == words


@given(YEARS)
def test_times_come_back_to_the_nanosecond(nanoseconds: int) -> None:
    text = header.to_rfc3339(nanoseconds)
    assert header.to_nanoseconds(text.encode()) == nanoseconds


@given(st.integers(0, 10**19), st.integers(0, 9))
def test_the_server_leaves_out_zeros_at_the_end(nanoseconds: int, zeros: int) -> None:
    """As Go writes times: no fraction at all for a whole second."""
    nanoseconds -= nanoseconds % 10**zeros
    text = header.to_rfc3339(nanoseconds).removesuffix("Z").rstrip("0").rstrip(".") + "Z"
    if len(text) >= len("2026-01-02T03:04:05Z"):
        assert header.to_nanoseconds(text.encode()) == nanoseconds


def test_a_time_is_the_one_it_says() -> None:
    assert header.to_nanoseconds(b"1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert header.to_nanoseconds(b"2026-11-21T05:03:57.875967802Z") == 1_795_237_437_875_967_802
    assert header.to_rfc3339(1_795_237_437_875_967_802) == "2026-11-21T05:03:57.875967802Z"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Z",
        b"2026-11-21T05:03:57",
        b"2026-11-21 05:03:57Z",
        b"2026-11-21T05:03:57.Z",
        b"2026-11-21T05:03:57.1234567890Z",
        b"2026-11-21T05:03:57+01:00",
        b"2026-13-21T05:03:57Z",
        b"2026-02-29T05:03:57Z",
        b"2026-W01-1T05:03:57Z",
        b"20261121T050357.123Z",
        "\uff12026-11-21T05:03:57Z".encode(),
    ],
)
def test_what_is_no_time_is_refused(text: bytes) -> None:
    """Other ways to write one are not the server's."""
    with pytest.raises(ValueError, match=r"not a time|month|day"):
        header.to_nanoseconds(text)


@pytest.mark.parametrize("nanoseconds", [10**30, -(10**30), 253_402_300_800 * 10**9])
def test_a_time_that_no_calendar_has_is_refused(nanoseconds: int) -> None:
    with pytest.raises(ValueError, match="not a time"):
        header.to_rfc3339(nanoseconds)
