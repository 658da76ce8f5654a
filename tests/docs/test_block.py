"""Blocks are found where Markdown has them."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.docs.block import BadPageError, Block, blocks


def page(text: str) -> list[Block]:
    return list(blocks("page.md", textwrap.dedent(text)))


def test_language_place_and_text() -> None:
    (block,) = page("""\
        # Title

        ```python
        a = 1

        b = 2
        ```
        """)
    assert (block.language, block.place, block.text) == ("python", "page.md:3", "a = 1\n\nb = 2\n")
    assert block.runs


def test_the_reason_is_the_comment_on_the_line_before() -> None:
    block, later = page("""\
        <!-- notest: it has no end -->
        ```bash notest
        milepost serve
        ```
        ```bash notest
        ```
        """)
    assert not block.runs
    assert block.reason == "it has no end"
    assert later.reason is None


@pytest.mark.parametrize(
    "comment", ["<!-- notest -->", "<!-- notest: -->", "<!-- a sketch -->", "notest: it has no end"]
)
def test_what_is_no_reason(comment: str) -> None:
    (block,) = page(f"{comment}\n```bash notest\n```\n")
    assert block.reason is None


def test_a_longer_fence_holds_a_shorter_one() -> None:
    (block,) = page("````\n```python\n1\n```\n````\n")
    assert block.text == "```python\n1\n```\n"


def test_a_block_in_a_list_loses_the_list_indent() -> None:
    (block,) = page("- see\n\n  ```python\n  if a:\n      b\n  ```\n")
    assert block.text == "if a:\n    b\n"


def test_lines_are_those_of_the_page() -> None:
    (block,) = page("one\ntwo\n```python\nfour\n```\n")
    assert block.numbered.splitlines()[3] == "four"


def test_a_block_without_an_end_is_told() -> None:
    with pytest.raises(BadPageError, match=r"page\.md:2"):
        page("text\n```python\n1\n")


LINE = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=20).filter(
    lambda line: not line.lstrip().startswith(("```", "~~~"))
)


@given(st.lists(st.tuples(st.lists(LINE), st.sampled_from(["", "python", "js notest"]), st.lists(LINE))))
def test_every_block_of_a_page_is_found_as_it_was_written(parts: list[tuple[list[str], str, list[str]]]) -> None:
    written = "".join(
        "".join(f"{line}\n" for line in [*prose, f"```{info}", *code, "```"]) for prose, info, code in parts
    )
    found = list(blocks("page.md", written))
    assert [block.text for block in found] == ["".join(f"{line}\n" for line in code) for _, _, code in parts]
    assert [" ".join(block.info) for block in found] == [info for _, info, _ in parts]
