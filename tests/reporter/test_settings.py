"""What the page of settings says is what the code does."""

import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from milepost_reporter import settings as module
from milepost_reporter.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "reporter.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (?:`(\w+)`)? ?\| ([^|]*) \|", re.MULTILINE)
IN_WORDS = {"needed": MISSING, "none": None, "the system's": None, "1 MiB": 2**20, "8 MiB": 2**23, "`_INBOX`": "_INBOX"}
GIVEN = {"NATS_URL": "nats://h:1", "MILEPOST_TENANT": "a", "MILEPOST_JOB": "1"}


def rows() -> dict[str, tuple[str, object]]:
    found = ROW.findall(PAGE)
    return {name: (variable, IN_WORDS.get(default, default)) for name, variable, default in found}


def test_every_setting_is_on_the_page_with_its_default() -> None:
    table = rows()
    for field in fields(Settings):
        told = table[field.name][1]
        assert told == field.default or float(str(told).replace(",", "")) == field.default, field.name


def test_every_variable_is_on_the_page() -> None:
    told = {variable for variable, _ in rows().values() if variable}
    read = set(re.findall(r'"((?:NATS|MILEPOST)_[A-Z_]+)"', inspect.getsource(module)))
    # settings of no field: the page tells of them in words
    in_words = {"MILEPOST_MODE", "MILEPOST_OWNER"}
    assert told == read - in_words
    assert all(variable in PAGE for variable in in_words)


@pytest.mark.parametrize(("text", "lease"), [("5", 5), ("0", 0), ("0.5", 0.5), ("-1", 30), ("soon", 30), ("", 30)])
def test_the_lease_in_the_environment(text: str, lease: float) -> None:
    """What cannot be right is warned of and done without."""
    warnings: list[str] = []
    settings = Settings.from_env({**GIVEN, "MILEPOST_LEASE_SECONDS": text}, warnings.append)
    assert settings is not None
    assert settings.lease == lease
    assert len(warnings) == (text in ("-1", "soon"))
