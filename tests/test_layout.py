"""The house keeps its shape: who imports whom, what every package carries, and what no file may say."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PACKAGES = {
    "milepost_reporter": ROOT / "reporter" / "milepost_reporter",
    "milepost_runner": ROOT / "runner" / "milepost_runner",
    "milepost_hub": ROOT / "hub" / "milepost_hub",
    "milepost_bridge": ROOT / "bridge" / "milepost_bridge",
    "milepost_client": ROOT / "client" / "milepost_client",
    "milepost": ROOT / "milepost",
}
OURS = set(PACKAGES)
MAY_IMPORT = {
    "milepost_reporter": set[str](),
    "milepost_hub": set[str](),
    "milepost_runner": {"milepost_reporter"},
    "milepost_client": set[str](),
    "milepost_bridge": {"milepost_hub", "milepost_reporter"},
    "milepost": {"milepost_bridge", "milepost_client", "milepost_hub", "milepost_reporter", "milepost_runner"},
}


def modules(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found, f"{package} has no modules"
    return found


def imports(source: str) -> Iterator[str]:
    """The packages that a module names in its imports, wherever in it they stand."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports here name their package"
            yield (node.module or "").partition(".")[0]


def imported_by(package: str) -> dict[str, str]:
    """What a package imports, each with a module that does."""
    return {name: path.name for path in modules(package) for name in imports(path.read_text())}


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b, c\nfrom d.e import f\ndef g():\n    import h\nif True:\n    from i import j"
    assert set(imports(source)) == {"a", "c", "d", "h", "i"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_arrow_runs_upward(package: str) -> None:
    """Hub and reporter import nothing of ours, the bridge these two, the client nothing, the front door all."""
    ours = {name: where for name, where in imported_by(package).items() if name in OURS - {package}}
    assert set(ours) <= MAY_IMPORT[package], ours


def test_nats_is_imported_by_the_reporter_and_the_front_door_alone() -> None:
    assert {package for package in PACKAGES if "nats" in imported_by(package)} == {"milepost_reporter", "milepost"}


def test_a_job_program_is_asked_for_little() -> None:
    """Neither web frameworks nor token libraries come with the reporter."""
    heavy = {"fastapi", "starlette", "uvicorn", "websockets", "jwt", "typer", "rich", "prometheus_client"}
    assert not heavy & set(imported_by("milepost_reporter"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_stands_on_the_architecture_page(package: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    modules = {path.stem for path in PACKAGES[package].glob("*.py")} - {"__init__", "__main__"}
    assert {module for module in modules if f"`{module}`" not in page} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_packages_init_holds_names_and_nothing_else(package: str) -> None:
    body = ast.parse((PACKAGES[package] / "__init__.py").read_text()).body
    for node in body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_names = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        assert is_docstring or is_names or isinstance(node, ast.ImportFrom), ast.unparse(node)


def test_every_folder_of_tests_is_a_package() -> None:
    """Else two tests of one name stop mypy."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_there_is_no_module_for_leftovers() -> None:
    names = {path.stem for package in PACKAGES for path in modules(package)}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


# Each in a way that does not say it itself.
FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.\]])/(?:hom[e]|roo[t]|User[s]|wor[k])/\w"),
    "the host of a package registry": re.compile(
        r"\b(?:pyp[i]\.org|pythonhoste[d]\.org|registry\.npmj[s]\.org|prox[y]\.golang\.org|index[-_]url)\b"
    ),
}


def files_of_the_project() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S607
    return [ROOT / name for name in listed.decode().split("\0") if name]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_knows_where_it_was_made(what: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    found = []
    for path in files_of_the_project():
        if path.is_file():
            text = path.read_bytes().decode(errors="replace")
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in FORBIDDEN[what].finditer(text)]
    assert found == []
