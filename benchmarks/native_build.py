"""The two C programs, compiled with `cc`, or else with the compiler of the `ziglang` package."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
SOURCES: Final = HERE / "native"
BUILT: Final = HERE / ".build"
FLAGS: Final = ["-O2", "-std=c11", "-Wall", "-Wextra"]


class NoCompilerError(RuntimeError):
    """There is no C compiler, and none could be installed."""


def find_compiler() -> list[str] | None:
    """The command of a C compiler that is here already."""
    if found := shutil.which("cc"):
        return [found]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    return None


def install_compiler() -> list[str]:
    """Install the pinned `ziglang` into this environment, and return its command."""
    print("no `cc` here: installing the C compiler of the ziglang package into this environment", flush=True)
    constraints = HERE / "constraints.txt"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*command, "--constraint", str(constraints), "ziglang"], check=True)
    except subprocess.CalledProcessError as error:
        raise NoCompilerError("no C compiler: install one (`cc`), or make `pip install ziglang` work") from error
    importlib.invalidate_caches()
    compiler = find_compiler()
    if compiler is None:
        raise NoCompilerError("ziglang was installed, but cannot be imported from this environment")
    return compiler


def program(name: str) -> Path:
    """The compiled `native/<name>.c`, built first when it is older than its sources; NoCompilerError."""
    built = BUILT / name
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if not built.exists() or built.stat().st_mtime < newest:
        BUILT.mkdir(exist_ok=True)
        compiler = find_compiler() or install_compiler()
        subprocess.run([*compiler, *FLAGS, "-o", str(built), str(SOURCES / f"{name}.c")], check=True)
    return built
