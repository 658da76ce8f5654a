"""Milepost's pages and its browser client: files, for a hub to serve."""

from milepost_client.pages import PAGES

__all__ = ["PAGES"]
