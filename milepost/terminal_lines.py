"""Bytes that a program wrote to a terminal, as the lines a person would have seen (sans-I/O).

A small screen without a width: text goes where the cursor is, so that a carriage return overwrites, and escape
sequences move the cursor, erase, or are left out. A line is done when a line feed leaves it. One that is about to be
overwritten is told too, as not done: a progress bar is never more.

What is held is bounded, whatever comes: `ROWS` lines of at most `WIDTH` characters.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

WIDTH: Final = 4_097
"""Characters of a line that are kept: one more than a log line has, so that its cut is seen there."""

ROWS: Final = 64
"""Lines above the last one that the cursor can go back to."""

_LONGEST_SEQUENCE: Final = 256
"""Characters of an escape sequence that may come in pieces."""

_LONGEST_STRING: Final = 1 << 20
"""Characters of a string for the terminal (a title, a picture), after which it is taken for text again."""

_DIGITS: Final = 5
"""Digits of a sequence's number that are read: nobody moves further."""

_WHOLE_SCREEN: Final = 2

_TOKEN: Final = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<given>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|(?P<string>\x1b[\]PX^_])"
    r"|\x1b[ -/]*[0-Z\\`-~]"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x9f])"
)
_BEGUN: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[ -/]*)\Z")
_STRING_END: Final = re.compile(r"\x07|\x1b\\|\x18|\x1a")
_OTHER_SCREENS: Final = frozenset({"47", "1047", "1049"})


class Line(NamedTuple):
    """`row` counts a program's lines from 0; `done`: left by a line feed."""

    text: str
    row: int
    done: bool


class _Row:
    __slots__ = ("text", "told")

    def __init__(self) -> None:
        self.text = ""
        # What of it was told as done.
        self.told = ""


class TerminalLines:
    """One terminal, or one output of a program that is not on any."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rows: deque[_Row] = deque([_Row()], ROWS)
        # The first row's number, the cursor's row among those kept, and its column.
        self._top = self._at = self._column = 0
        # An escape sequence that has not come whole.
        self._begun = ""
        # How much came of a string for the terminal that has no end yet; None outside.
        self._string: int | None = None
        # On the other screen, where programs draw and nothing is said.
        self._elsewhere = False

    def feed(self, data: bytes) -> Iterator[Line]:
        """The lines that are seen when this is written, too."""
        text = self._begun + self._decoder.decode(data)
        self._begun = ""
        place = 0
        while place < len(text):
            if self._string is not None:
                place = self._skip_string(text, place)
            elif (token := _TOKEN.match(text, place)) is not None:
                place = token.end()
                yield from self._act(token)
            elif len(text) - place < _LONGEST_SEQUENCE and _BEGUN.match(text, place):
                self._begun = text[place:]
                break
            else:  # an escape that begins nothing
                place += 1

    def standing(self) -> Line | None:
        """The line that is being written, unless it is in the middle of being overwritten."""
        row = self._rows[self._at]
        if not row.text or row.text == row.told or self._column < len(row.text.rstrip()):
            return None
        return Line(row.text.rstrip(), self._top + self._at, done=False)

    def finish(self) -> Iterator[Line]:
        """Nothing more comes: what stands in the last line is done as well."""
        yield from self._seen(done=True)

    def restart(self) -> None:
        """Something was left out, and nobody knows what stands on the screen now: what comes next begins a line."""
        self._decoder.reset()
        self._begun, self._string = "", None
        self._top += len(self._rows)
        self._rows.clear()
        self._rows.append(_Row())
        self._at = self._column = 0

    def shown(self, row: int) -> str:
        """What stands in a row now; nothing when it is no longer kept."""
        index = row - self._top
        return self._rows[index].text if 0 <= index < len(self._rows) else ""

    def _act(self, token: re.Match[str]) -> Iterator[Line]:
        if (text := token["text"]) is not None:
            if not self._elsewhere:
                self._write(text)
        elif (control := token["control"]) is not None:
            yield from self._control(control)
        elif token["string"] is not None:
            self._string = 0
        elif (final := token["final"]) is not None:
            yield from self._sequence(token["given"], final)

    def _control(self, control: str) -> Iterator[Line]:
        if self._elsewhere:
            return
        if control == "\n":
            yield from self._seen(done=True)
            self._down()
        elif control == "\r":
            yield from self._seen(done=False)
            self._column = 0
        elif control == "\b":
            self._column = max(0, self._column - 1)
        elif control == "\t":
            self._write("\t")

    def _sequence(self, given: str, final: str) -> Iterator[Line]:
        if given.startswith("?"):
            if final in "hl" and _OTHER_SCREENS & set(given[1:].split(";")):
                self._elsewhere = final == "h"
        elif not self._elsewhere:
            number = int(given[:_DIGITS]) if given.isdigit() else 0
            if final in "AFBEHfJ":
                yield from self._seen(done=False)
            self._move(number, final)

    def _move(self, number: int, final: str) -> None:
        row = self._rows[self._at]
        if final in "AFBE":
            step = -max(1, number) if final in "AF" else max(1, number)
            self._at = min(max(0, self._at + step), len(self._rows) - 1)
            self._column = 0 if final in "FE" else self._column
        elif final == "C":
            self._column = min(self._column + max(1, number), WIDTH)
        elif final == "D":
            self._column = max(0, self._column - max(1, number))
        elif final in "G`":
            self._column = min(max(0, number - 1), WIDTH)
        elif final in "Hf" or (final == "J" and number >= _WHOLE_SCREEN):
            # Somewhere on a screen whose size is not known here.
            self._new_row()
        elif final == "K":
            self._erase(row, number)
        elif final == "J" and number == 0:
            self._erase(row, 0)
            for below in list(self._rows)[self._at + 1 :]:
                below.text = ""

    def _erase(self, row: _Row, which: int) -> None:
        if which == 0:
            row.text = row.text[: self._column]
        elif which == 1:
            row.text = " " * min(self._column, len(row.text)) + row.text[self._column :]
        else:
            row.text = ""

    def _write(self, text: str) -> None:
        row, column = self._rows[self._at], self._column
        before = row.text
        self._column = min(column + len(text), WIDTH)
        if column >= len(before):
            row.text = (before.ljust(column) + text[: WIDTH - column])[:WIDTH]
        else:
            row.text = (before[:column] + text[: WIDTH - column] + before[column + len(text) :])[:WIDTH]

    def _down(self) -> None:
        if self._at + 1 == len(self._rows):
            self._new_row()
        else:
            self._at += 1
        self._column = 0

    def _new_row(self) -> None:
        if len(self._rows) == ROWS:
            self._top += 1
        self._rows.append(_Row())
        self._at, self._column = len(self._rows) - 1, 0

    def _seen(self, *, done: bool) -> Iterator[Line]:
        row = self._rows[self._at]
        if row.text != row.told and not row.text.isspace():
            if done:
                row.told = row.text
            if row.text:
                yield Line(row.text.rstrip(), self._top + self._at, done)

    def _skip_string(self, text: str, place: int) -> int:
        """Where a string for the terminal ends in `text`, or the end of `text`."""
        assert self._string is not None  # noqa: S101 - only called inside one
        end = _STRING_END.search(text, place)
        if end is not None:
            self._string = None
            return end.end()
        self._string += len(text) - place
        if text.endswith("\x1b"):  # perhaps of its end
            self._begun = "\x1b"
        if self._string > _LONGEST_STRING:
            self._string = None
        return len(text)
