"""Carries job progress from NATS to the hub."""
