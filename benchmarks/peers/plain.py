"""One plain NATS subscriber and no clients: what nats-server spends before any fan-out.

python -m benchmarks.peers.plain NATS_URL PORT
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from benchmarks.peers.intake import subscribe


async def _main(nats_url: str, port: int) -> None:
    async def deliver(job: int, message: bytes) -> None:
        pass

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    await subscribe(nats_url, deliver)
    # only so that the harness sees it is ready in the same way as the others
    await asyncio.start_server(refuse, "127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2])))
