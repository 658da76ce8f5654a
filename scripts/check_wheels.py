"""Build the sdists and wheels, install them where nothing else is, and run the demo from there.

The wheels are made from the sdists, so a file that an sdist forgets is missed here and not by a user.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = {
    "milepost_reporter": ROOT / "reporter",
    "milepost_runner": ROOT / "runner",
    "milepost_hub": ROOT / "hub",
    "milepost_bridge": ROOT / "bridge",
    "milepost_client": ROOT / "client",
    "milepost": ROOT,
}
ENTRY_POINTS = {
    "milepost": "milepost = milepost.cli:main",
    "milepost_reporter": "milepost_reporter = milepost_reporter.pytest_plugin",
}
PAGES = ROOT / "client" / "milepost_client" / "web"
IMPORTS_FROM_OUTSIDE = """
import importlib, pathlib, sys
for name in ("milepost", "milepost_hub", "milepost_bridge", "milepost_client", "milepost_reporter", "milepost_runner"):
    place = pathlib.Path(importlib.import_module(name).__file__)
    assert place.is_relative_to(sys.prefix), f"{name} was imported from {place}"
"""


class WheelError(Exception):
    """What is wrong with the wheels."""


def say(text: str) -> None:
    """A line of progress."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def run(program: Path, *arguments: str | Path, cwd: Path) -> str:
    """What the program prints. WheelError, with all of it, when it fails."""
    command = [str(word) for word in (program, *arguments)]
    # what this process was told of paths and settings is not there on a user's machine either
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "NATS_", "MILEPOST_")) and name != "VIRTUAL_ENV"
    }
    # as in an activated environment: the build backend looks for its own program on PATH
    kept["PATH"] = f"{program.parent}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(
        command,
        cwd=cwd,
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WheelError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def environment(folder: Path) -> Path:
    """A new environment's Python."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    pip(python, "install", "pip")
    return python


def pip(python: Path, *arguments: str | Path) -> None:
    """pip in that environment, with the versions that the tests ran with."""
    first, *rest = arguments
    run(
        python,
        *("-m", "pip", first, "--quiet", "--disable-pip-version-check"),
        *("--constraint", ROOT / "constraints.txt", *rest),
        cwd=python.parent,
    )


def build(python: Path, dist: Path) -> list[Path]:
    """An sdist of each distribution, and from it a wheel."""
    pip(python, "install", *backend())
    make_sdist = f"import uv_build; print(uv_build.build_sdist({str(dist)!r}))"
    wheels = []
    for name, source in DISTRIBUTIONS.items():
        sdist = dist / run(python, "-c", make_sdist, cwd=source).splitlines()[-1]
        say(f"  {sdist.name}")
        pip(python, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", dist, sdist)
        (wheel,) = dist.glob(f"{name}-[0-9]*.whl")
        say(f"  {wheel.name}")
        wheels.append(wheel)
    return wheels


def backend() -> list[str]:
    """What the projects are built with; one and the same for all."""
    asked = {
        tuple(tomllib.loads((source / "pyproject.toml").read_text())["build-system"]["requires"])
        for source in DISTRIBUTIONS.values()
    }
    if len(asked) != 1:
        raise WheelError(f"the projects want different build tools: {asked}")
    return list(asked.pop())


def check_contents(wheel: Path) -> None:
    """Types, licence and entry points are inside, and no tests."""
    package = wheel.name.split("-")[0]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        texts = {name: archive.read(name).decode() for name in names if name.endswith("entry_points.txt")}
    if f"{package}/py.typed" not in names:
        raise WheelError(f"{wheel.name} has no py.typed")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        raise WheelError(f"{wheel.name} has no LICENSE")
    if strangers := [name for name in names if not name.startswith((f"{package}/", f"{package}-"))]:
        raise WheelError(f"{wheel.name} brings what is not its own: {strangers}")
    if package == "milepost_client":
        check_pages(wheel, names)
    wanted = ENTRY_POINTS.get(package)
    if wanted is not None and not any(wanted in text for text in texts.values()):
        raise WheelError(f"{wheel.name} lacks the entry point {wanted!r}")


def check_pages(wheel: Path, names: list[str]) -> None:
    """Every page, script and style sheet is inside, and beside them only the module that says where they are."""
    pages = {f"milepost_client/web/{file.relative_to(PAGES).as_posix()}" for file in PAGES.rglob("*") if file.is_file()}
    modules = {f"milepost_client/{name}" for name in ("__init__.py", "pages.py", "py.typed")}
    inside = {name for name in names if name.startswith("milepost_client/") and not name.endswith("/")}
    if differing := inside ^ pages ^ modules:
        raise WheelError(f"{wheel.name} lacks these, or has no business with them: {sorted(differing)}")


def check_installed(python: Path, wheels: list[Path], elsewhere: Path) -> None:
    """They install together, are found without the checkout, and run the demo to its end."""
    pip(python, "install", *wheels)
    run(python, "-m", "pip", "check", cwd=elsewhere)
    run(python, "-c", IMPORTS_FROM_OUTSIDE, cwd=elsewhere)
    command = python.parent / "milepost"
    run(command, "--help", cwd=elsewhere)
    say("  running the demo")
    demo = run(command, "demo", "--once", cwd=elsewhere)
    if "completed" not in demo:
        raise WheelError(f"the demo did not complete:\n{demo}")


def main() -> int:
    """0 when the wheels are as they should be."""
    with tempfile.TemporaryDirectory(prefix="milepost-wheels-") as folder:
        place = Path(folder)
        dist, elsewhere = place / "dist", place / "elsewhere"
        dist.mkdir()
        elsewhere.mkdir()
        try:
            say("building")
            wheels = build(environment(place / "build"), dist)
            say("looking into the wheels")
            for wheel in wheels:
                check_contents(wheel)
            say("installing them into an empty environment")
            check_installed(environment(place / "venv"), wheels, elsewhere)
        except WheelError as error:
            say(f"FAILED: {error}")
            return 1
    say("the wheels are fine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
