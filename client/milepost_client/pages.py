"""Where the pages are."""

from pathlib import Path
from typing import Final

PAGES: Final = Path(__file__).parent / "web"
"""`index.html` for `/`, `client/` for `/client/`, `dashboard/` for `/dashboard/`."""
