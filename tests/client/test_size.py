"""The client stays small."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from tests.client.node import CLIENT, WEB, tool
from tests.client.package import run

MOST = 10_240
CORE = WEB / "client" / "milepost.js"
_IMPORT = re.compile(r'^(?:import|export)\b[^;]*?from "(\.[^"]+)";', re.MULTILINE)


def imported(path: Path, found: set[Path] | None = None) -> set[Path]:
    """A module and everything it loads."""
    found = set() if found is None else found
    if path not in found:
        found.add(path)
        for name in _IMPORT.findall(path.read_text(encoding="utf-8")):
            imported((path.parent / name).resolve(), found)
    return found


def test_the_core_is_under_ten_kilobytes_as_a_bundler_ships_it(tmp_path: Path) -> None:
    out = tmp_path / "core.js"
    run(tool("esbuild"), CORE, "--bundle", "--format=esm", "--minify", f"--outfile={out}", cwd=CLIENT)
    assert len(gzip.compress(out.read_bytes(), 9)) < MOST


def test_the_core_loads_nothing_but_itself() -> None:
    """No adapter, no view, no shapes: only what is needed for a connection."""
    loaded = {path.relative_to(WEB / "client").as_posix() for path in imported(CORE)}
    assert "state.js" in loaded
    assert not {name for name in loaded if name.startswith("view/")} | (
        loaded & {"react.js", "angular.js", "callbacks.js", "element.js", "shapes.js", "submit.js", "watched.js"}
    )
