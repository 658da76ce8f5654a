"""Every code block of every page does what the page says: it runs.

CONTRIBUTING.md tells how blocks are written so that they can be.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import yaml
from playwright.async_api import Browser

from tests.docs.block import Block, all_blocks
from tests.docs.page import run_html, run_js
from tests.docs.surroundings import Surroundings, run_bash, run_python

PROGRAMS: Final = {"python": run_python, "bash": run_bash}
IN_PAGES: Final = {"js": run_js, "html": run_html}
PARSERS: Final[dict[str, Callable[[str], object]]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
}
PICTURES: Final = {"", "text", "console"}

BLOCKS: Final = all_blocks()


def named(*languages: str) -> pytest.MarkDecorator:
    """One case for each block of these languages that is to be run."""
    return pytest.mark.parametrize("block", chosen(*languages), ids=lambda block: block.place)


def chosen(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.runs and block.language in languages]


def on_pages(*languages: str) -> pytest.MarkDecorator:
    """The same, with surroundings that are the page's own."""
    cases = [pytest.param(block, block.page, id=block.place) for block in chosen(*languages)]
    return pytest.mark.parametrize(("block", "around"), cases, indirect=["around"])


@on_pages(*PROGRAMS)
def test_program(block: Block, around: Surroundings, tmp_path: Path) -> None:
    PROGRAMS[block.language](block, tmp_path, around.environment(f"docs-{uuid.uuid4().hex[:12]}"))


@pytest.mark.asyncio(loop_scope="session")
@on_pages(*IN_PAGES)
async def test_in_a_page(block: Block, browser: Browser, around: Surroundings) -> None:
    await IN_PAGES[block.language](block, browser, around)


@named(*PARSERS)
def test_data(block: Block) -> None:
    PARSERS[block.language](block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.runs], ids=lambda block: block.place)
def test_what_is_not_run_says_why(block: Block) -> None:
    assert block.reason, f"{block.place}: put `<!-- notest: … -->` with the reason on the line before the block"


def test_no_block_is_left_out() -> None:
    known = {*PROGRAMS, *IN_PAGES, *PARSERS, *PICTURES}
    unknown = [f"{block.place} ({block.language})" for block in BLOCKS if block.runs and block.language not in known]
    assert not unknown, f"nothing is known of how to run these: {', '.join(unknown)}"
    assert any(block.runs for block in BLOCKS)
