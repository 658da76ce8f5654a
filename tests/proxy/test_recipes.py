"""What docs/proxies.md shows are the files of deploy/proxies, and the changes that the tests make to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.block import ROOT, blocks
from tests.proxy.caddy import Caddy
from tests.proxy.nginx import Nginx
from tests.proxy.proxy import RECIPES, Proxy
from tests.proxy.traefik import Traefik

PAGE = (ROOT / "docs" / "proxies.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(RECIPES.iterdir()), ids=lambda path: path.name)
def test_the_page_shows_the_file(path: Path) -> None:
    assert path.read_text("utf-8") in [block.text for block in blocks("docs/proxies.md", PAGE)]


@pytest.mark.parametrize("kind", [Nginx, Caddy, Traefik], ids=lambda kind: kind.program)
def test_the_page_shows_what_to_change_for_a_path(kind: type[Proxy]) -> None:
    changed = [
        line for changes in kind.below_a_path.values() for text in changes.values() for line in text.splitlines()
    ]
    assert [line for line in changed if line.strip() not in PAGE and line.strip() != "service: milepost"] == []
