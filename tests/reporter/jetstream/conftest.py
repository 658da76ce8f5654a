"""Servers with JetStream, as everywhere but among the reporter's own tests."""

from tests.conftest import nats_server, shared_nats

__all__ = ["nats_server", "shared_nats"]
