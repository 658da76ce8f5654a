"""What the pages link to within the project is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.block import ROOT, blocks, pages

LINK = re.compile(r"\]\((?P<path>[^)#:\s]*)(?:#(?P<anchor>[^)\s]+))?\)")


class Link(NamedTuple):
    """From a page to a file, and to a heading in it."""

    page: Path
    line: int
    path: str
    anchor: str | None

    @property
    def target(self) -> Path:
        return self.page.parent / self.path if self.path else self.page


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page that are in none of its blocks."""
    text = page.read_text("utf-8")
    inside = {
        block.line + offset for block in blocks(page.name, text) for offset in range(len(block.text.splitlines()) + 2)
    }
    return ((number, line) for number, line in enumerate(text.splitlines(), 1) if number not in inside)


def links() -> list[Link]:
    return [
        Link(page, number, found["path"], found["anchor"])
        for page in pages()
        for number, line in prose(page)
        for found in LINK.finditer(line)
    ]


def anchors(page: Path) -> set[str]:
    """A page's headings as links name them."""
    headings = (line.lstrip("#").strip().lower() for _, line in prose(page) if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("link", links(), ids=lambda link: f"{link.page.relative_to(ROOT)}:{link.line}")
def test_a_link_leads_somewhere(link: Link) -> None:
    assert link.target.exists(), f"there is no {link.path}"
    if link.anchor is not None and link.target.suffix == ".md":
        assert link.anchor in anchors(link.target)


def test_files_that_pages_name_are_there() -> None:
    """Those of the checkout, as `tests/docs`; what is only made there does not count."""
    named = re.compile(r"`((?:benchmarks|chaos|client|deploy|docker|examples|scripts|tests)/[\w./-]*\w)")
    made = {"benchmarks/results", "client/node_modules"}
    missing = [
        f"{page.name}:{number} {path}"
        for page in pages()
        for number, line in prose(page)
        for path in named.findall(line)
        if not (ROOT / path).exists() and not any(path.startswith(folder) for folder in made)
    ]
    assert missing == []
