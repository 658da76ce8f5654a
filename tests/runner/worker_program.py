"""One worker as a process of its own: `python -m tests.runner.worker_program URL SETTINGS`; drains on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from milepost_runner.worker import Worker

from tests.runner.stand import MODULES, worker_settings
from tests.runner.work_handlers import registry_of


async def main() -> None:
    url, settings = sys.argv[1], json.loads(sys.argv[2])
    leave = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave.set)
    async with Worker(url, worker_settings(**settings), registry=registry_of(), modules=MODULES) as worker:
        await worker.ready()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await leave.wait()


if __name__ == "__main__":
    asyncio.run(main())
