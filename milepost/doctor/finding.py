"""What was found, how bad it is, and what to do about it."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import Final, NamedTuple

import typer


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """One thing looked at: what was found, and what to do about it unless it is well."""

    level: Level
    what: str
    found: str
    advice: str = ""


def ok(what: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(Level.OK, what, found)


def warn(what: str, found: str, advice: str) -> Finding:
    """It works, but not as it should."""
    return Finding(Level.WARN, what, found, advice)


def fail(what: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(Level.FAIL, what, found, advice)


_COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


def show(finding: Finding) -> None:
    """A line for people, and one with what to do."""
    mark = typer.style(f"{finding.level.value:<4}", fg=_COLOURS[finding.level], bold=True)
    typer.echo(f"{mark}  {finding.what + ':':<17} {finding.found}")
    if finding.advice:
        typer.echo(f"      {'':<17} → {finding.advice}")


def show_json(finding: Finding) -> None:
    """An object a line."""
    sys.stdout.write(json.dumps({**finding._asdict(), "level": finding.level.value}) + "\n")
