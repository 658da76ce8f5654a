"""The docs' tables say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from milepost_hub.close import CloseCode
from milepost_hub.settings import HubSettings

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "settings_tables.py"


def test_no_table_is_out_of_date() -> None:
    """After a change of a setting, a close code, a metric or the payload, the script brings the pages up to date."""
    checked = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_check_would_notice(tmp_path: Path) -> None:
    """Run beside pages of which one tells of another default, it fails, names that one, and then mends it."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "docs").mkdir()
    script = tmp_path / "scripts" / SCRIPT.name
    script.write_text(SCRIPT.read_text("utf-8"), "utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        (tmp_path / "docs" / page.name).write_text(page.read_text("utf-8"), "utf-8")
    hub = tmp_path / "docs" / "hub.md"
    right = hub.read_text("utf-8")
    hub.write_text(right.replace("| `heartbeat_interval` | 15 |", "| `heartbeat_interval` | 14 |"), "utf-8")
    checked = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert checked.stderr == "docs/hub.md is out of date: run python scripts/settings_tables.py\n"
    subprocess.run([sys.executable, str(script)], check=True)
    assert hub.read_text("utf-8") == right


def test_the_tables_are_whole() -> None:
    """Every setting and every close code has its row."""
    hub = (ROOT / "docs" / "hub.md").read_text("utf-8")
    protocol = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    assert [name for name in HubSettings.model_fields if f"| `{name}` |" not in hub] == []
    for page in (hub, protocol):
        assert re.findall(r"^\| (4\d\d\d) \|", page, re.MULTILINE) == [str(code.value) for code in CloseCode]
