"""Carries job progress from NATS to the hub."""

from milepost_bridge.bridge import Bridge
from milepost_bridge.settings import BridgeSettings
from milepost_bridge.sink import Sink

__all__ = ["Bridge", "BridgeSettings", "Sink"]
