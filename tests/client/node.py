"""Node and npm's packages, where they are, and what is said where they are not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
CLIENT: Final = ROOT / "client"
WEB: Final = CLIENT / "milepost_client" / "web"
MODULES: Final = CLIENT / "node_modules"


def program(name: str) -> str:
    """`node`, `npm` or `npx`; the test is skipped where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on PATH: install the Debian packages `nodejs` and `npm`")
    return found


def tool(name: str) -> str:
    """A program of one of the npm packages; the test is skipped where they are not installed."""
    program("node")
    found = MODULES / ".bin" / name
    if not found.exists():
        pytest.skip("npm's packages are not installed: run `make setup` with npm on PATH")
    return str(found)
