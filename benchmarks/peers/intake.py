"""What every Python peer does with NATS: one plain subscription with a callback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

Deliver = Callable[[int, bytes], Awaitable[None]]


async def subscribe(nats_url: str, deliver: Deliver) -> Client:
    """Call `deliver(job, message)` for every event, with the text the hub would send."""

    async def on_message(message: Msg) -> None:
        job = message.subject.split(".")[3]
        text = b'{"type":"job.progress","jobId":%s,"payload":%s}' % (job.encode(), message.data)
        await deliver(int(job), text)

    connection = await nats.connect(nats_url)
    # 0 is no limit: nats-py would otherwise drop events while the peer is behind, and the order would break
    await connection.subscribe(
        "tenant.bench.job.*.progress", cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0
    )
    await connection.flush()
    return connection
