"""`milepost worker` runs what is submitted, and leaves nothing undone when it goes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service, serving
from tests.milepost.console import Running, milepost, running
from tests.milepost.jobs_console import HANDLERS, Client, working
from tests.waiting import eventually

ASYNC = "tests.milepost.async_handlers"


def logged(process: Running) -> list[dict[str, Any]]:
    """The lines of a worker that has ended, but for the one on standard output."""
    return [json.loads(line) for line in process.rest() if not line.startswith("Milepost runs jobs")]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_it_says_what_it_runs_and_how_each_run_begins_and_ends(nats_server: NatsServer, executor: str) -> None:
    with serving(nats_server.url) as service, working(nats_server.url, "--executor", executor) as worker:
        client = Client(service, "acme")
        jobs = {name: client.submit(name, '{"rows": 3}') for name in ("count", "fail")}
        assert milepost("watch", jobs["count"], env=client.environment).returncode == 0
        assert milepost("watch", jobs["fail"], env=client.environment).returncode == 1
        worker.process.terminate()
        assert worker.end() == 0
        told = [line["message"] for line in logged(worker)]
    assert f"handler count of {HANDLERS}, from queue default" in told
    assert f"count: job {jobs['count']} of acme, run 1 begins" in told
    assert [line for line in told if line.startswith(f"count: job {jobs['count']} of acme, run 1: completed after ")]
    failed = [line for line in told if line.startswith(f"fail: job {jobs['fail']} of acme, run 1: failed after ")]
    assert failed[0].endswith("ValueError: this cannot be") or failed[0].endswith(": this cannot be")


def test_sigterm_lets_running_jobs_end(nats_server: NatsServer, tmp_path: Path) -> None:
    with serving(nats_server.url) as service, working(nats_server.url, "--executor", "process") as worker:
        client = Client(service, "acme")
        go = tmp_path / "go"
        job = client.submit("until-there", json.dumps(str(go)))
        eventually(lambda: client.status(job) == "running")
        worker.process.send_signal(signal.SIGTERM)
        worker.until("draining")
        later = client.submit("echo", "1")
        go.touch()
        assert worker.end() == 0
        assert client.status(job) == "completed"
        assert client.status(later) == "queued"


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_one_ctrl_c_ends_it_and_what_ran_runs_again_elsewhere(nats_server: NatsServer, executor: str) -> None:
    with serving(nats_server.url) as service:
        client = Client(service, "acme")
        with working(nats_server.url, "--executor", executor, "--drain", "600") as worker:
            job = client.submit("listen")
            deaf = client.submit("deaf")
            eventually(lambda: {client.status(job), client.status(deaf)} == {"running"})
            family = psutil.Process(worker.process.pid).children(recursive=True)
            worker.interrupt()
            assert worker.end() == 0
            _, alive = psutil.wait_procs(family, timeout=10)
            assert not alive
            assert not [line for line in worker.rest() if "Traceback" in line]
        assert {client.status(job), client.status(deaf)} == {"queued"}
        with working(nats_server.url, "--drain", "0"):
            eventually(lambda: client.snapshot(job).get("run") == 2 and client.status(job) == "running")
            client.ask("DELETE", f"/{job}")
            eventually(lambda: client.status(job) == "cancelled")


def test_ctrl_c_cuts_a_drain_short(nats_server: NatsServer) -> None:
    with serving(nats_server.url) as service:
        client = Client(service, "acme")
        with working(nats_server.url, "--drain", "600") as worker:
            job = client.submit("listen")
            eventually(lambda: client.status(job) == "running")
            worker.process.send_signal(signal.SIGTERM)
            worker.until("draining")
            worker.process.send_signal(signal.SIGTERM)
            worker.interrupt()
            worker.until("ending at once")
            assert worker.end() == 0
        assert client.status(job) == "queued"


@pytest.mark.parametrize("executor", ["async", "thread"])
def test_what_handlers_left_behind_does_not_hold_up_the_exit(nats_server: NatsServer, executor: str) -> None:
    arguments = ("--executor", executor, "--cancel-wait", "0.1")
    with serving(nats_server.url) as service, working(nats_server.url, *arguments, modules=(ASYNC,)) as worker:
        client = Client(service, "acme")
        job = client.submit("never-back")
        eventually(lambda: client.status(job) == "running")
        worker.interrupt()
        assert worker.end() == 0
        assert "they are ended with the worker" in worker.rest()[-1]
        assert client.status(job) == "queued"


def test_an_exit_in_a_handler_s_own_task_ends_the_job_and_not_its_worker(nats_server: NatsServer) -> None:
    with (
        serving(nats_server.url) as service,
        working(nats_server.url, "--executor", "async", modules=(ASYNC,)) as worker,
    ):
        client = Client(service, "acme")
        ended = milepost("submit", "exit-in-a-task", "--wait", env=client.environment)
        assert ended.returncode == 1
        assert "it leaves" in ended.stdout
        assert milepost("submit", "echo", "--wait", env=client.environment).returncode == 0
        worker.process.terminate()
        assert worker.end() == 0


def test_ctrl_c_ends_one_that_never_reached_nats() -> None:
    env = {"NATS_URL": "nats://127.0.0.1:1"}
    with running("worker", HANDLERS, env=env) as worker:
        worker.until("no connection to NATS")
        worker.interrupt()
        assert worker.end() == 0
        assert not [line for line in worker.rest() if "Traceback" in line]


def test_a_tenant_s_worker_runs_nobody_else_s_jobs(nats_server: NatsServer) -> None:
    with serving(nats_server.url) as service, working(nats_server.url, "--tenant", "acme"):
        ours, theirs = Client(service, "acme"), Client(service, "umbrella")
        assert milepost("submit", "echo", "1", "--wait", env=ours.environment).returncode == 0
        refused = milepost("submit", "echo", "1", env=theirs.environment)
        assert refused.returncode == 1
        assert "no worker has told of a job named echo" in refused.stderr


def test_its_health_and_its_counts_are_to_be_had_over_http(nats_server: NatsServer) -> None:
    """Ready while it has its NATS; the counts are those of its jobs."""
    with serving(nats_server.url) as service, working(nats_server.url, "--health-port", "0") as worker:
        client = Client(service, "acme")
        assert milepost("submit", "echo", "1", "--wait", env=client.environment).returncode == 0
        ports = [c.laddr.port for c in psutil.Process(worker.process.pid).net_connections() if c.status == "LISTEN"]
        with httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", trust_env=False) as http:
            assert http.get("/healthz").json() == {"status": "ok"}
            assert http.get("/readyz").json() == {"status": "ready"}
            eventually(lambda: 'outcome="completed"} 1.0' in http.get("/metrics").text)
            assert "milepost_worker_running 0.0" in http.get("/metrics").text
            nats_server.kill()
            eventually(lambda: http.get("/readyz").status_code == 503)
            assert http.get("/healthz").status_code == 200


def test_started_before_nats_and_the_service_it_runs_jobs_when_they_come(service: Service) -> None:
    with NatsServer() as server:
        url = server.url
        server.kill()
        with running("worker", HANDLERS, env={"NATS_URL": url}) as worker:
            worker.until("no connection to NATS")
            server.start()
            worker.until("Milepost runs jobs")
            with serving(url) as hub:
                client = Client(hub, "acme")
                assert milepost("submit", "echo", "1", "--wait", env=client.environment).returncode == 0
