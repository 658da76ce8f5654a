"""What `npm pack` makes is a package: the right files, and it is imported by its names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.node import WEB, program
from tests.client.package import installed, packed, run

NAMES = (
    *("milepost", "milepost/react", "milepost/angular", "milepost/callbacks"),
    *("milepost/state", "milepost/submit", "milepost/mounted"),
)


def test_the_tarball_has_the_client_its_types_and_nothing_else(tmp_path: Path) -> None:
    _, files = packed(tmp_path)
    modules = [path.relative_to(WEB / "client") for path in sorted((WEB / "client").rglob("*.js"))]
    wanted = {f"milepost_client/web/client/{path.as_posix()}" for path in modules}
    wanted |= {f"types/{path.with_suffix('.d.ts').as_posix()}" for path in modules}
    assert set(files) == wanted | {"package.json", "README.md", "LICENSE"}


def test_an_installed_package_is_imported_by_its_names(tmp_path: Path) -> None:
    """In node, without a browser's globals."""
    home = installed(tmp_path)
    imports = "".join(f"console.log(Object.keys(await import({name!r})).join());\n" for name in NAMES)
    (home / "main.mjs").write_text(imports)
    core, react, angular, callbacks, state, submit, mounted = run(program("node"), "main.mjs", cwd=home).splitlines()
    assert {"Job", "JobEvent", "Jobs", "Milepost", "MilepostError"} <= set(core.split(","))
    assert {"MilepostProvider", "useJob", "useJobs", "useMilepost"} <= set(react.split(","))
    assert {"provideMilepost", "injectJob", "MilepostService"} <= set(angular.split(","))
    assert callbacks == "followJob"
    assert "JobState" in state.split(",")
    assert submit == "submit,submitAgain,submittedAs"
    assert mounted == "mounted"


@pytest.mark.parametrize("word", ["resolved", "://"])
def test_the_lock_file_names_no_address(word: str) -> None:
    assert word not in (WEB.parents[1] / "package-lock.json").read_text()
