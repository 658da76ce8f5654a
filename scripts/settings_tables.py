"""Write the docs' tables of settings, close codes, metrics and payload fields from the code that they describe.

A page holds a table between `<!-- table: NAME -->` and `<!-- end of table -->`. `python scripts/settings_tables.py`
rewrites them all; `--check` fails when that would change anything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin

from milepost_bridge.settings import BridgeSettings
from milepost_hub.close import CloseCode
from milepost_hub.hub import Hub
from milepost_hub.keys import KeySource
from milepost_hub.settings import HubSettings
from milepost_hub.token import Verifier
from milepost_reporter.event import Event
from milepost_reporter.jetstream.access import Access
from milepost_runner.settings import RunnerSettings, WorkerSettings
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel
from pydantic.fields import FieldInfo

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
PAGES: Final = ("hub.md", "bridge.md", "protocol.md", "runner.md")
_TABLE: Final = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_FIRST_FINAL: Final = 4500
_LONG: Final = 10_000
"""From here on a number is easier to read with commas."""


def settings(model: type[BaseModel], without: type[BaseModel] | None = None) -> str:
    """Each field with its default and its docstring, but for those that another model has too."""
    fields = {
        name: info for name, info in model.model_fields.items() if without is None or name not in without.model_fields
    }
    rows = [(f"`{name}`", _default(info), info.description or "") for name, info in fields.items()]
    return _table(("setting", "default", ""), rows)


def close_codes() -> str:
    """Each code with what its range says and the reason that comes with it."""
    rows = [(str(code.value), "no" if code >= _FIRST_FINAL else "yes", f"`{code.reason}`") for code in CloseCode]
    return _table(("code", "come back?", "reason"), rows)


def metrics() -> str:
    """What a hub exports, by its own account."""
    hub = Hub(HubSettings(), Verifier(KeySource(secrets=["only so that there is a hub to ask"])))
    families = text_string_to_metric_families(hub.metrics.exposition().decode())
    rows = [
        (f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type, family.documentation)
        for family in families
    ]
    return _table(("metric", "kind", ""), rows)


def payload() -> str:
    """Each field of an event with its type as JSON has it."""
    rows = [
        (f"`{name}`", _json_type(info.annotation), info.description or "") for name, info in Event.model_fields.items()
    ]
    return _table(("field", "type", "meaning"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "hub-settings": lambda: settings(HubSettings),
    "bridge-settings": lambda: settings(BridgeSettings),
    "runner-settings": lambda: settings(RunnerSettings, without=Access),
    "worker-settings": lambda: settings(WorkerSettings, without=RunnerSettings),
    "close-codes": close_codes,
    "metrics": metrics,
    "payload": payload,
}


def page(text: str) -> str:
    """The page with every table as it should be. KeyError for a table that nobody makes."""
    return _TABLE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def outdated() -> list[Path]:
    """The pages that are not as they should be."""
    paths = [DOCS / name for name in PAGES]
    return [path for path in paths if path.read_text("utf-8") != page(path.read_text("utf-8"))]


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = outdated()
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"docs/{path.name} is out of date: run python scripts/settings_tables.py\n")
        return bool(stale)
    for path in stale:
        path.write_text(page(path.read_text("utf-8")), "utf-8")
    return 0


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _default(info: FieldInfo) -> str:
    value = info.default
    if value in (None, ()):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return f"`{value}`"
    return f"{value:,}" if isinstance(value, int) and value >= _LONG else f"{value:g}"


def _json_type(annotation: Any) -> str:  # noqa: ANN401 - whatever a model's field may be
    if get_origin(annotation) is Annotated:
        return _json_type(get_args(annotation)[0])
    if parts := get_args(annotation):
        names = dict.fromkeys(_json_type(part) for part in parts if part is not NoneType)
        return " or ".join(name for name in names if name != "integer" or "number" not in names)
    return _JSON_TYPES.get(annotation, "object" if _is_model(annotation) else "string")


def _is_model(annotation: Any) -> bool:  # noqa: ANN401
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


_JSON_TYPES: Final[dict[Any, str]] = {int: "integer", float: "number", bool: "boolean", str: "string", Any: "any"}


if __name__ == "__main__":
    sys.exit(main())
