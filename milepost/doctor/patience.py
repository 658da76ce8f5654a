"""How long each of the parts that are looked at is given for an answer."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 5.0
"""Seconds."""
