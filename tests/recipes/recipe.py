"""One recipe: a program in some language that reports a job with that language's NATS client alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.client.node import MODULES
from tests.docs.block import ROOT

FOLDER: Final = ROOT / "examples" / "recipes"
# a compiler and its packages may have to come first
_PREPARE_SECONDS: Final = 900


class Recipe(NamedTuple):
    """A row of docs/recipes.md."""

    folder: str
    file: str
    command: str
    """What runs it, in its folder, as the page says it."""
    prepare: str = ""
    """What has to be done once before that, in words of a shell."""
    light: bool = False
    """Whether it needs nothing beyond what `make setup` installs."""
    hears: bool = False
    """Whether it answers a request to be cancelled."""

    @property
    def path(self) -> Path:
        """The program's file."""
        return FOLDER / self.folder / self.file

    @property
    def missing(self) -> str | None:
        """The program that this machine lacks for it."""
        needed = "nats" if self.file == "natscli.sh" else self.command.split()[0]
        return None if shutil.which(needed, path=_search_path()) else needed

    def start(self, place: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Under way, with both outputs as one. `place` is a folder of its own, to build and run in."""
        folder = self._copy(place)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "MILEPOST_"))}
        # no build of one recipe is to be another's
        around = {**kept, "PATH": _search_path(), "CARGO_TARGET_DIR": str(ROOT / "examples/recipes/rust/target"), **env}
        if self.prepare and not self.light:
            subprocess.run(
                ["/bin/sh", "-c", self.prepare], cwd=folder, env=around, check=True, timeout=_PREPARE_SECONDS
            )
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {self.command}"],
            cwd=folder,
            env=around,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _copy(self, place: Path) -> Path:
        """The recipe's files alone: what is built and installed for them is kept out of the checkout."""
        folder = place / self.folder
        ignored = shutil.ignore_patterns("node_modules", "target")
        shutil.copytree(FOLDER / self.folder, folder, ignore=ignored)
        if self.light and self.folder == "node":
            (folder / "node_modules").symlink_to(MODULES)
        return folder


RECIPES: Final = (
    Recipe("go", "main.go", "go run .", prepare="go build -o /dev/null .", hears=True),
    Recipe("node", "recipe.mjs", "node recipe.mjs", prepare="npm install", light=True, hears=True),
    Recipe("java", "Recipe.java", "mvn -q -B compile exec:java", prepare="mvn -q -B compile"),
    Recipe("rust", "src/main.rs", "cargo run -q", prepare="cargo build -q"),
    Recipe("bash", "natscli.sh", "bash natscli.sh"),
    Recipe("bash", "tcp.sh", "bash tcp.sh", light=True),
    Recipe("bash", "pub.sh", "bash pub.sh", light=True),
    Recipe("python", "recipe.py", "python recipe.py", light=True, hears=True),
)


def chosen() -> list[Recipe]:
    """All of them with MILEPOST_RECIPES=1, else those that need no toolchain."""
    return [recipe for recipe in RECIPES if recipe.light or os.environ.get("MILEPOST_RECIPES") == "1"]


def ready(recipe: Recipe) -> Recipe:
    """The recipe, or a test that is skipped and says what is missing."""
    if recipe.missing:
        pytest.skip(f"{recipe.folder}/{recipe.file} is left out: no {recipe.missing} on this machine")
    if recipe.folder == "node" and not (MODULES / "@nats-io").exists():
        pytest.skip("npm's packages are not installed: run `make setup` with npm on PATH")
    return recipe


def as_told(output: str) -> list[str]:
    """What `milepost watch` printed, but for what differs from run to run: times, ids, how often rows were counted."""
    lines: list[str] = []
    for line in output.splitlines():
        words = re.sub(r"^[\d:]+ ", "", line)
        words = re.sub(r"^connected to .*", "connected", words)
        if words.startswith("DB Input: running") and lines and lines[-1].startswith("DB Input: running"):
            continue
        lines.append(re.sub(r"\d[\d,.:]*", "#", words))
    return lines


def _search_path() -> str:
    """This Python's own programs first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
