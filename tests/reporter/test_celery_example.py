"""The example of docs/celery.md, as the page shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from milepost.nats_server import NatsServer
from tests.docs.block import ROOT
from tests.docs.printed import masked, printed
from tests.reporter import celery_worker
from tests.reporter.job_log import make_streams, stored
from tests.waiting import eventually

EXAMPLE = "examples/celery_tasks.py"


@pytest.mark.skipif(celery_worker.redis_server() is None, reason=celery_worker.MISSING)
def test_it_prints_what_the_page_shows_and_its_jobs_are_reported(bare_nats: NatsServer, tmp_path: Path) -> None:
    make_streams(bare_nats.url)
    with celery_worker.redis(tmp_path) as url:
        environ = {"CELERY_URL": url, "NATS_URL": bare_nats.url, "MILEPOST_TENANT": "acme", "PYTHONPATH": str(ROOT)}
        with celery_worker.worker(url, tmp_path, environ, "-c", "2", module="examples.celery_tasks"):
            said = subprocess.run(
                [sys.executable, EXAMPLE],
                cwd=ROOT,
                env={**os.environ, **environ},
                capture_output=True,
                check=True,
                text=True,
                timeout=60,
            ).stdout
            assert masked(said) == masked(printed("celery.md", f"python {EXAMPLE}"))
            ids = [line.rpartition(" ")[2] for line in said.splitlines()]
            eventually(
                lambda: {m.subject for m in stored(bare_nats.url)} >= {f"tenant.acme.job.{one}.end.1" for one in ids}
            )
