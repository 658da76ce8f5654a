"""A hub that takes jobs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.client.node import ROOT
from tests.milepost.conftest import SECRET, Service
from tests.milepost.console import Running, environment


@contextmanager
def desk_serving(nats_url: str) -> Iterator[Service]:
    """`tests.client.desk_hub` on a free port, with the dashboard."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.client.desk_hub", "serve"],
        cwd=ROOT,
        env=environment({"MILEPOST_JWT_SECRET": SECRET, "NATS_URL": nats_url}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            running = Running(process)
            yield Service(running.until("Milepost serves").split()[2], running)
        finally:
            process.terminate()
