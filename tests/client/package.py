"""The npm package as somebody else installs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.client.node import CLIENT, MODULES, program, tool


def run(*command: str | Path, cwd: Path) -> str:
    """What a program prints; its words in the failure when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def packed(place: Path) -> tuple[Path, list[str]]:
    """The tarball, made in `place`, and the files in it."""
    npm = program("npm")
    tool("tsc")
    told: list[dict[str, Any]] = json.loads(run(npm, "pack", "--json", "--pack-destination", place, cwd=copied(place)))
    return place / told[0]["filename"], sorted(file["path"] for file in told[0]["files"])


def copied(place: Path) -> Path:
    """The package's sources in a place of their own: several may be packing at a time."""
    copy = place / "source"
    shutil.copytree(CLIENT, copy, ignore=shutil.ignore_patterns("node_modules", "types", "__pycache__"))
    (copy / "node_modules").symlink_to(MODULES)
    return copy


def installed(place: Path) -> Path:
    """A folder in which `milepost` is installed from its tarball, beside all that its adapters are for."""
    tarball, _ = packed(place)
    home = place / "home"
    modules = home / "node_modules"
    modules.mkdir(parents=True)
    for found in MODULES.iterdir():
        if not found.name.startswith("."):
            (modules / found.name).symlink_to(found)
    shutil.unpack_archive(tarball, place / "unpacked", "gztar")
    (place / "unpacked" / "package").rename(modules / "milepost")
    return home
