"""A job's progress from Python, with nothing but nats-py."""

import asyncio
import json
import os

import nats
from nats.aio.msg import Msg


async def main() -> None:
    """The job, from its beginning to its end."""
    nc = await nats.connect(os.environ["NATS_URL"])
    job = f"tenant.{os.environ['MILEPOST_TENANT']}.job.{os.environ['MILEPOST_JOB']}"
    cancelled = asyncio.Event()

    async def tell(**event: object) -> None:
        await nc.publish(f"{job}.progress", json.dumps(event).encode())

    async def control(request: Msg) -> None:
        cancelled.set()
        await request.respond(b'{"ok":true}')

    await nc.subscribe(f"{job}.control", cb=control)
    await tell(status="running", name="Import in Python")
    for rows in range(1_000, 5_001, 1_000):
        if cancelled.is_set():
            break
        await tell(nodeId=1, nodeName="DB Input", status="running", rowCount=rows, message="Processing rows...")
        await asyncio.sleep(0.1)  # the work
    status = "cancelled" if cancelled.is_set() else "completed"
    await tell(nodeId=1, status=status)
    await tell(kind="log", message="a row had no date")
    once = {"Nats-Expected-Last-Subject-Sequence": "0"}
    await nc.request(f"{job}.end.1", json.dumps({"status": status}).encode(), timeout=5, headers=once)
    await nc.close()


asyncio.run(main())
