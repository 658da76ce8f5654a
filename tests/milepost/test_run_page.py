"""docs/run.md shows what its example prints, and what a watcher sees of it."""

from __future__ import annotations

import subprocess

from milepost.nats_server import NatsServer
from tests.docs.block import ROOT
from tests.docs.printed import masked, printed
from tests.milepost.conftest import Service
from tests.milepost.console import milepost
from tests.milepost.run_job import RunJob

EXAMPLE = ["--job", "nightly-1", "--name", "Nightly import", "--", "sh", "examples/nightly.sh"]


def test_the_page_shows_what_the_example_prints(service: Service, shared_nats: NatsServer) -> None:
    job = RunJob(service, shared_nats.url)
    with job.start(*EXAMPLE, stderr=subprocess.STDOUT, cwd=ROOT) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    command = 'milepost run --job nightly-1 --name "Nightly import" -- sh examples/nightly.sh'
    assert masked(out.decode()) == masked(printed("run.md", command))
    watched = milepost("watch", "nightly-1", env=service.environment(job.tenant))
    assert masked(watched.stdout) == masked(printed("run.md", "milepost watch nightly-1"))
