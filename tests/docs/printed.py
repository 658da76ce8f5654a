"""What a page says a command prints, and whether it still does.

The page holds it in a block behind a comment: `<!-- printed by: python examples/loop.py -->`. What differs from run to
run is left out of the comparison: numbers, and the ids that programs make up.
"""

from __future__ import annotations

import re
from typing import Final

from tests.docs.block import ROOT

_ID: Final = re.compile(r"\b(?=[0-9a-f-]*[0-9])(?=[0-9a-f-]*[a-f])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b")
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_BLANKS: Final = re.compile(r"[ \t]+")


def printed(page: str, command: str) -> str:
    """The block of `docs/<page>` that stands behind the comment of that command."""
    text = (ROOT / "docs" / page).read_text()
    found = re.search(
        rf"<!-- printed by: {re.escape(command)} -->\n+```[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    assert found is not None, f"docs/{page} does not show what `{command}` prints"
    return found.group(1)


def masked(text: str) -> list[str]:
    """Its lines without what differs from run to run."""
    return [_BLANKS.sub(" ", _NUMBER.sub("#", _ID.sub("#", line))).strip() for line in text.splitlines()]
