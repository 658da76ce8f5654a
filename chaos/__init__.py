"""Milepost under faults, checking itself: `python -m chaos`."""
