"""`milepost run` ended: cancelled, by signals, killed; what came of its command goes with it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service
from tests.milepost.console import environment, script
from tests.milepost.run_job import RunJob, lines, mark, sleepers
from tests.waiting import eventually


@pytest.fixture
def job(service: Service, shared_nats: NatsServer) -> RunJob:
    return RunJob(service, shared_nats.url)


STUBBORN = """
trap "" TERM INT HUP
setsid sh -c 'trap "" TERM; sleep {0}; sleep {0}' &
(setsid sh -c 'trap "" TERM; sleep {0}; sleep {0}' & )
sh -c 'trap "" TERM; echo ready; while :; do sleep {0}; done'
while :; do sleep {0}; done
"""


@pytest.mark.parametrize("how", ["cancel", "SIGTERM"])
def test_what_does_not_listen_is_ended_with_everything_that_came_of_it(job: RunJob, how: str) -> None:
    seconds = mark()
    with job.start("--grace", "0.3", "--", "sh", "-c", STUBBORN.format(seconds)) as process:
        eventually(lambda: job.said("ready") and len(sleepers(seconds)) == 3)
        if how == "cancel":
            job.cancel()
        else:
            process.terminate()
        assert process.wait(30) == 137
    assert sleepers(seconds) == []
    assert job.ended()["status"] == "cancelled"


def test_what_listens_is_not_killed(job: RunJob) -> None:
    program = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    with job.start("--grace", "60", "--", "sh", "-c", program) as process:
        eventually(lambda: job.said("ready"))
        job.cancel()
        assert process.wait(30) == 0
    snapshot = job.ended()
    assert snapshot["status"] == "cancelled"
    # beside it stands what the shell says of its `sleep`, which was told too
    assert "bye" in lines(snapshot)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "cancelled"), (signal.SIGHUP, "cancelled")])
def test_signals_reach_the_whole_group_of_a_command_without_a_terminal(
    job: RunJob, number: signal.Signals, status: str
) -> None:
    seconds = mark()
    with job.start("--", "sh", "-c", f"echo ready; sleep {seconds}") as process:
        eventually(lambda: job.said("ready") and sleepers(seconds))
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert sleepers(seconds) == []
    assert job.ended()["status"] == status


def test_after_an_interrupt_that_it_takes_for_nothing_it_may_complete(job: RunJob, tmp_path: Path) -> None:
    program = "trap 'echo no' INT; echo ready; while [ ! -e $1 ]; do sleep 0.05; done"
    flag = tmp_path / "enough"
    with job.start("--", "sh", "-c", program, "sh", str(flag)) as process:
        eventually(lambda: job.said("ready"))
        process.send_signal(signal.SIGINT)
        eventually(lambda: job.said("no"))
        flag.touch()
        assert process.wait(30) == 0
    assert job.ended()["status"] == "completed"


def test_an_output_that_nobody_takes_does_not_hold_up_a_cancel(job: RunJob) -> None:
    with job.start("--grace", "0.3", "--", "yes") as process:
        eventually(lambda: job.snapshot().get("status") == "running")
        job.cancel()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert job.ended()["status"] == "cancelled"


def test_a_killed_run_leaves_its_command_to_find_out(job: RunJob) -> None:
    """What docs/run.md says of it: the command goes on, and SIGPIPE ends it when it writes."""
    seconds = mark()
    with job.start("--", "sh", "-c", f"echo ready; sleep {seconds}; echo more; sleep {seconds}") as process:
        eventually(lambda: job.said("ready") and sleepers(seconds))
        process.kill()
        process.wait(30)
        (first,) = sleepers(seconds)
        shell = first.parent()
        assert shell is not None
        first.kill()
        eventually(lambda: not shell.is_running() or shell.status() == psutil.STATUS_ZOMBIE)
    assert sleepers(seconds) == []


def test_what_a_shell_had_started_before_it_became_milepost_run_is_spared(job: RunJob) -> None:
    before, command = mark(), mark()
    stubborn = f"trap '' TERM; sleep {command}; sleep {command}"
    words = f'sleep {before} & exec {script()} run --quiet --grace 0 -- sh -c "{stubborn}"'
    with subprocess.Popen(["/bin/sh", "-c", words], env=environment(job.env), start_new_session=True) as shell:
        eventually(lambda: sleepers(command))
        shell.terminate()
        assert shell.wait(30) == 128 + signal.SIGKILL
    [spared] = sleepers(before)
    spared.kill()
    assert not sleepers(command)


def test_what_goes_on_talking_in_the_background_is_not_waited_for(job: RunJob) -> None:
    seconds = mark()
    talking = f"while sleep 0.05; do echo tick; done; sleep {seconds}"
    with job.start("--", "sh", "-c", f"({talking}) & echo done") as process:
        assert process.wait(60) == 0
    snapshot = job.ended()
    assert snapshot["status"] == "completed"
    assert "done" in lines(snapshot)
    for one in sleepers(seconds):
        one.kill()
