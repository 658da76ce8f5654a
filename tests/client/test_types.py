"""The types: the sources are clean at the checker's strictest, and what is emitted is of use to others."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.client.node import CLIENT, tool
from tests.client.package import installed, run

CONSUMER = Path(__file__).parent / "consumer"


def test_the_sources_are_clean() -> None:
    run(tool("tsc"), "--project", "tsconfig.json", cwd=CLIENT)


def test_a_strict_program_compiles_against_the_package(tmp_path: Path) -> None:
    """Against the emitted declarations, as installed; what must not compile is marked in it."""
    home = installed(tmp_path)
    for file in CONSUMER.iterdir():
        shutil.copy(file, home)
    (home / "package.json").write_text('{"type": "module"}')
    run(tool("tsc"), "--project", "tsconfig.json", cwd=home)
