"""A program: a hub that takes jobs, with its pages, in place of `milepost serve`.

NATS and the secret are in the environment, as that command has them; it prints the same line when it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

from milepost_bridge import Bridge
from milepost_client import PAGES
from milepost_hub import Hub, HubSettings, KeySource, Signer, Verifier

from milepost.service import announce, listen, url_of
from tests.client.desk import MemoryDesk


async def serve(port: int) -> None:
    """Until SIGTERM."""
    nats_url, secret = os.environ["NATS_URL"], os.environ["MILEPOST_JWT_SECRET"]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with listen("127.0.0.1", port) as listener:
        async with (
            KeySource(secrets=[secret]) as keys,
            Hub(HubSettings(drain_seconds=0), Verifier(keys), listener, PAGES, signer=Signer(secret)) as hub,
            Bridge(nats_url, hub),
        ):
            hub.employ(MemoryDesk(nats_url))
            announce(f"Milepost serves {url_of(listener)} from NATS")
            await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
