"""What a program wrote is seen as a person would have seen it, whatever it wrote, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.terminal_lines import ROWS, WIDTH, Line, TerminalLines


def done(*pieces: bytes) -> list[str]:
    """The lines that are left for good, and the one that stands at the end."""
    terminal = TerminalLines()
    lines = [line for piece in pieces for line in terminal.feed(piece)]
    return [line.text for line in [*lines, *terminal.finish()] if line.done]


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo\r\n", ["one", "two"]),
        (b"no end", ["no end"]),
        (b"\n\n  \nafter nothing\n", ["after nothing"]),
        (b"10%\r20%\r100%\n", ["100%"]),
        (b"long text\rshort\n", ["shorttext"]),
        (b"long text\r\x1b[Kshort\n", ["short"]),
        (b"long text\x1b[2K\rshort\n", ["short"]),
        (b"typo\b\bping\n", ["typing"]),
        (b"\x1b[1;31mred\x1b[0m and \x1b[38;5;12mblue\x1b[m\n", ["red and blue"]),
        (b"\x1b]0;a title\x07text\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["textlink"]),
        (b"\x1bP1$r0m\x1b\\\x1b(B\x1b=\x1b7text\x1b8\n", ["text"]),
        (b"name\tvalue\n", ["name\tvalue"]),
        (b"a\x00b\x07c\x7fd\n", ["abcd"]),
        (b"caf\xc3\xa9 \xff\n", ["caf\u00e9 \ufffd"]),
        (b"one\ntwo\n\x1b[2Aeins\n\x1b[K", ["one", "two", "eins"]),
        (b"abc\x1b[2Dx\x1b[Cy\x1b[Gz\n", ["zxc", "zxcy"][1:]),
        (b"before\n\x1b[?1049hdrawn\n\x1b[5;5Hmore\x1b[?1049lafter\n", ["before", "after"]),
        (b"\x1b[2J\x1b[Hpage one\n\x1b[2J\x1b[Hpage two\n", ["page one", "page two"]),
        (b"not a sequence \x1b\x1b[31m\x1b", ["not a sequence"]),
    ],
)
def test_lines(written: bytes, seen: list[str]) -> None:
    assert done(written) == seen
    assert done(*[bytes([byte]) for byte in written]) == seen


def test_what_is_about_to_be_overwritten_is_told_as_not_done() -> None:
    terminal = TerminalLines()
    assert list(terminal.feed(b" 10%\r 20%\n\nbelow\x1b[A\x1b[A")) == [
        Line(" 10%", 0, done=False),
        Line(" 20%", 0, done=True),
        Line("below", 2, done=False),
    ]
    assert terminal.shown(2) == "below"
    assert terminal.shown(99) == ""


def test_the_line_that_is_being_written_stands_unless_it_is_half_overwritten() -> None:
    terminal = TerminalLines()
    list(terminal.feed(b"99/100"))
    assert terminal.standing() == Line("99/100", 0, done=False)
    list(terminal.feed(b"\r6"))
    assert terminal.standing() is None
    list(terminal.feed(b"0/1000"))
    assert terminal.standing() == Line("60/1000", 0, done=False)


def test_a_line_without_end_is_kept_as_far_as_a_log_line_goes() -> None:
    terminal = TerminalLines()
    for _ in range(1_000):
        assert not list(terminal.feed(b"x" * 100_000))
    assert [len(line.text) for line in terminal.feed(b"\nnext")] == [WIDTH]
    assert [line.text for line in terminal.finish()] == ["next"]


def test_a_string_for_the_terminal_without_end_is_given_up() -> None:
    terminal = TerminalLines()
    list(terminal.feed(b"\x1b]"))
    for _ in range(11):
        assert not list(terminal.feed(b"x" * 100_000 + b"\n"))
    assert [line.text for line in terminal.feed(b"text\n")] == ["text"]


def test_after_something_was_left_out_a_line_of_its_own_begins() -> None:
    terminal = TerminalLines()
    list(terminal.feed(b"begun \xc3"))
    terminal.restart()
    assert [line.text for line in terminal.feed(b"anew\n")] == ["anew"]


MOVES = [b"\n", b"\r", b"\x1b[A", b"\x1b[9999A", b"\x1b[B", b"\x1b[K", b"\x1b[J", b"\x1b[99999999C", b"\x1b]", b"text"]
PIECES = st.lists(st.binary(max_size=40) | st.sampled_from(MOVES), max_size=60)


@given(PIECES)
def test_whatever_is_written_lines_are_printable_and_bounded(pieces: list[bytes]) -> None:
    terminal = TerminalLines()
    lines = [line for piece in pieces for line in terminal.feed(piece)] + list(terminal.finish())
    for line in lines:
        assert 0 < len(line.text) <= WIDTH
        assert all(character >= " " or character == "\t" for character in line.text)


@given(PIECES)
def test_how_it_came_in_pieces_changes_nothing(pieces: list[bytes]) -> None:
    assert done(*pieces) == done(b"".join(pieces))


def test_rows_are_bounded() -> None:
    terminal = TerminalLines()
    for number in range(10_000):
        list(terminal.feed(b"line %d\n" % number))
    assert terminal.shown(9_999) == "line 9999"
    assert terminal.shown(10_000 - ROWS) == ""
