"""Events from a bare NATS client, in the original shape."""

from __future__ import annotations

import json

import nats


async def publish(nats_url: str, tenant: str, job: int, rows: int) -> None:
    """One node's progress."""
    client = await nats.connect(nats_url)
    event = {"nodeId": 1, "nodeName": "DB Input", "status": "running", "rowCount": rows}
    await client.publish(f"tenant.{tenant}.job.{job}.progress", json.dumps(event).encode())
    await client.close()
