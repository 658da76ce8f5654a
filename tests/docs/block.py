"""One code block of a Markdown page, and how to find them all.

A block's info string is its language and, for one that is not run, the word `notest`. The reason stands in a
comment of its own on the line before the block: `<!-- notest: it serves until it is ended -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FENCE: Final = re.compile(r"(?P<indent>[ ]*)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$")
_REASON: Final = re.compile(r"\s*<!-- notest: (?P<reason>.*\S) -->\s*$")


class BadPageError(ValueError):
    """A page that cannot be read as one; the message names the line."""


@dataclass(frozen=True, slots=True)
class Block:
    """The lines between two fences. `line` is that of the opening fence, from 1."""

    page: str
    line: int
    info: tuple[str, ...]
    reason: str | None
    text: str

    @property
    def place(self) -> str:
        """Where a person finds it, as editors and terminals understand it."""
        return f"{self.page}:{self.line}"

    @property
    def language(self) -> str:
        """The info string's first word, empty when there is none."""
        return self.info[0] if self.info else ""

    @property
    def runs(self) -> bool:
        """Whether the page lets it be run."""
        return "notest" not in self.info[1:]

    @property
    def numbered(self) -> str:
        """The text where it stands on the page, so that a traceback tells the page's own line."""
        return "\n" * self.line + self.text


def blocks(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page, top to bottom. BadPageError for one that is never closed."""
    lines = enumerate(text.splitlines(), 1)
    before = ""
    for number, line in lines:
        opening = _FENCE.match(line)
        if opening is not None:
            reason = _REASON.match(before)
            yield Block(
                page,
                number,
                tuple(opening["info"].split()),
                reason["reason"] if reason else None,
                "".join(_inside(lines, opening, f"{page}:{number}")),
            )
        before = line


def _inside(lines: Iterator[tuple[int, str]], opening: re.Match[str], place: str) -> Iterator[str]:
    """The lines up to the closing fence, without the fence's own indent."""
    indent, fence = len(opening["indent"]), opening["fence"]
    for _, line in lines:
        bare = line.strip()
        if bare.startswith(fence) and not bare.strip(fence[0]):
            return
        yield line[min(indent, len(line) - len(line.lstrip(" "))) :] + "\n"
    raise BadPageError(f"{place}: the block that begins here is never closed")


def pages() -> list[Path]:
    """What a reader of the project opens: the front pages, those of the packages, and docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("*/README.md")), *sorted((ROOT / "docs").glob("*.md"))]


def all_blocks() -> list[Block]:
    """Every block of every page."""
    return [block for page in pages() for block in blocks(str(page.relative_to(ROOT)), page.read_text("utf-8"))]
