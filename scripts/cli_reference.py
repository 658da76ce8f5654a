"""Write the tables of docs/cli.md from the commands themselves.

`python scripts/cli_reference.py` rewrites what is below the marker; `--check` fails when that would change anything.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer.main

from milepost.cli import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
MARKER = "<!-- below: written by scripts/cli_reference.py -->\n"


def reference() -> str:
    """A table of arguments and options for each command, in the order of `milepost --help`."""
    group: Any = typer.main.get_command(app)
    return "\n".join(_section(name, group.get_command(None, name)) for name in group.list_commands(None))


def _section(name: str, command: Any) -> str:  # noqa: ANN401 - typer's own copy of click has no public types
    lines = [f"### milepost {name}", "", "| option | environment | default | |", "|---|---|---|---|"]
    options = [option for option in command.params if option.name != "help"]
    lines += [_row(option) for option in options]
    return "\n".join([*lines, ""])


def _row(option: Any) -> str:  # noqa: ANN401
    spelled = (
        [*option.opts, *option.secondary_opts] if option.param_type_name == "option" else [(option.name or "").upper()]
    )
    cells = [
        ", ".join(f"`{word}`" for word in spelled),
        f"`{option.envvar}`",
        _default(option),
        (option.help or "").replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _default(option: Any) -> str:  # noqa: ANN401
    if option.required:
        return "required"
    value = getattr(option.default, "value", option.default)
    if value in (None, (), []):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def page() -> str:
    """The whole page as it should be."""
    text, marker, _ = PAGE.read_text().partition(MARKER)
    return f"{text}{marker}\n{reference()}"


def main() -> int:
    """Write the page, or say that it is out of date."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
        return 0
    if PAGE.read_text() == page():
        return 0
    sys.stderr.write("docs/cli.md is out of date: run python scripts/cli_reference.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
