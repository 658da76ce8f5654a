"""A program that says nowhere where its job begins and ends, and has one all the same."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from milepost_reporter.names import NAME

from milepost.nats_server import NatsServer
from tests.milepost.console import environment
from tests.reporter.subscriber import Subscriber
from tests.waiting import eventually

ASKS = "from milepost_reporter.current import current; current().report(0.5)\n"


def told(server: NatsServer, code: str, exit_code: int, **more: str) -> list[dict[str, Any]]:
    """What the program tells of its job itself, once it has ended as it should."""
    env = environment(
        # However busy the machine: what is told arrives before the program ends.
        {"NATS_URL": server.url, "MILEPOST_TENANT": "acme", "MILEPOST_UNREACHABLE_TIMEOUT": "20", **more}
    )
    with Subscriber(server.url, "acme") as subscriber:
        ended = subprocess.run([sys.executable, "-c", code], env=env, check=False, timeout=60, capture_output=True)
        assert ended.returncode == exit_code, ended.stderr
        eventually(lambda: any(message.event.get("fraction") for message in subscriber.once))
        subscriber.caught_up()
        assert all(NAME.fullmatch(message.subject.split(".")[3]) for message in subscriber.once)
        return [message.event for message in subscriber.once if message.event.get("kind") == "job"]


@pytest.mark.parametrize(
    ("ends", "status", "code"),
    [
        ("", "completed", 0),
        ("import sys; sys.exit()", "completed", 0),
        ("import sys; sys.exit(3)", "failed", 3),
        ("raise OSError('no disk')", "failed", 1),
        ("raise KeyboardInterrupt", "cancelled", 1),
        (f"import sys\ntry: sys.exit(3)\nexcept SystemExit: pass\n{ASKS}", "completed", 0),
        (
            "import sys, threading; t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()",
            "completed",
            0,
        ),
        (f"import sys\ntry: sys.exit(3)\nfinally:\n {ASKS}", "failed", 3),
        (
            "import atexit, sys\nfrom milepost_reporter.current import current\natexit.register(current)\nsys.exit(3)",
            "failed",
            3,
        ),
        (
            "import sys, threading\nfrom milepost_reporter.current import current\n"
            "try: sys.exit(3)\nfinally: t = threading.Thread(target=current); t.start(); t.join()",
            "failed",
            3,
        ),
        (f"import sys\nsys.excepthook = lambda *_: exec({ASKS!r})\nraise OSError('no disk')", "failed", 1),
        (f"import os\nif not os.fork(): raise SystemExit\nos.wait()\n{ASKS}", "completed", 0),
    ],
)
def test_it_ends_as_the_process_does(shared_nats: NatsServer, ends: str, status: str, code: int) -> None:
    events = told(shared_nats, ASKS + ends, code)
    assert [event["status"] for event in events] == ["running", status]
    assert {event["name"] for event in events} == {"python"}


THREAD = (
    "import threading\n"
    f"def work():\n threading.main_thread().join()\n exec({ASKS!r})\n"
    "threading.Thread(target=work).start()\n"
)


@pytest.mark.parametrize(("ends", "status", "code"), [("", "completed", 0), ("raise OSError", "failed", 1)])
def test_threads_that_outlive_the_main_one_have_it_too(
    shared_nats: NatsServer, ends: str, status: str, code: int
) -> None:
    events = told(shared_nats, THREAD + ends, code)
    assert [event["status"] for event in events] == ["running", status]


def test_where_another_program_speaks_for_the_job_it_tells_neither_start_nor_end(shared_nats: NatsServer) -> None:
    assert told(shared_nats, ASKS, 0, MILEPOST_OWNER="no", MILEPOST_JOB="1") == []


def test_an_environment_without_nats_is_warned_of_once(shared_nats: NatsServer) -> None:
    code = "from milepost_reporter.current import current\nfor _ in range(3): current().report(0.5)"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), check=True, timeout=60, capture_output=True, text=True
    )
    assert ended.stderr.splitlines() == ["not reporting progress: NATS_URL, MILEPOST_TENANT not set"]


def test_a_worker_started_afresh_leaves_the_jobs_end_to_its_parent(shared_nats: NatsServer) -> None:
    """It shares nothing with its parent but the environment, which names the job."""
    code = f"""if __name__ == "__main__":
    import multiprocessing
    from milepost_reporter import Reporter
    with Reporter.from_env():
        worker = multiprocessing.get_context("spawn").Process(target=exec, args=({ASKS!r},))
        worker.start()
        worker.join()
"""
    events = told(shared_nats, code, 0, MILEPOST_JOB="7")
    assert [event["status"] for event in events] == ["running", "completed"]


def test_a_block_that_begins_the_same_job_later_tells_its_end(shared_nats: NatsServer) -> None:
    """Something was logged before it, and is after it."""
    block = "from milepost_reporter import Reporter\nwith Reporter.from_env() as job: job.fail('no disk')\n"
    events = told(shared_nats, ASKS + block + ASKS, 0, MILEPOST_JOB="8")
    # Each over a connection of its own: in no order.
    assert sorted(event["status"] for event in events) == ["failed", "running", "running"]


def test_what_is_logged_behind_a_block_begins_its_run_not_again(shared_nats: NatsServer) -> None:
    block = "from milepost_reporter import Reporter\nwith Reporter.from_env(): pass\n"
    events = told(shared_nats, block + ASKS, 0, MILEPOST_JOB="9")
    assert [event["status"] for event in events] == ["running", "completed"]


def test_a_program_that_it_starts_for_the_same_job_leaves_the_end_to_it(shared_nats: NatsServer) -> None:
    starts = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {ASKS!r}], check=True)\n"
    events = told(shared_nats, ASKS + starts, 0, MILEPOST_JOB="10")
    assert [event["status"] for event in events] == ["running", "completed"]


def test_a_program_that_replaces_itself_goes_on_with_its_job(shared_nats: NatsServer) -> None:
    again = f"import os, sys\nos.execv(sys.executable, [sys.executable, '-c', {ASKS!r}])\n"
    events = told(shared_nats, ASKS + again, 0, MILEPOST_JOB="11")
    assert events[-1]["status"] == "completed"


def test_what_ends_without_having_reported_begins_no_job(shared_nats: NatsServer) -> None:
    """Its last words would be the beginning of a job without an end."""
    code = (
        "import atexit\nfrom milepost_reporter.current import current\natexit.register(lambda: current().report(0.5))"
    )
    env = environment({"NATS_URL": shared_nats.url, "MILEPOST_TENANT": "last"})
    with Subscriber(shared_nats.url, "last") as subscriber:
        subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)
        subscriber.caught_up()
    assert subscriber.messages == []
