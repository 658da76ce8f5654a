"""`milepost run`: any command as a job, off a terminal."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from milepost.nats_server import NatsServer
from tests.milepost.conftest import Service
from tests.milepost.console import environment, milepost, script
from tests.milepost.run_job import RunJob, lines, mark, nodes, python, sleepers


@pytest.fixture
def job(service: Service, shared_nats: NatsServer) -> RunJob:
    return RunJob(service, shared_nats.url)


@pytest.mark.parametrize(
    ("command", "code", "status", "message"),
    [
        (["true"], 0, "completed", None),
        (["sh", "-c", "exit 3"], 3, "failed", "exit status 3"),
        (["sh", "-c", "kill -SEGV $$"], 139, "failed", "killed by SIGSEGV"),
        (["no-such-command"], 127, "failed", "no-such-command: No such file or directory"),
        ([__file__], 126, "failed", f"{__file__}: Permission denied"),
        (["no-such-command --password secret"], 127, "failed", "no-such-command: No such file or directory"),
        ([""], 126, "failed", "'': Permission denied"),
    ],
)
def test_the_command_s_end_is_the_job_s(
    job: RunJob, command: list[str], code: int, status: str, message: str | None
) -> None:
    ended = job.run("--name", "Nightly", "--", *command)
    assert ended.returncode == code
    assert ended.stdout == b""
    assert ended.stderr.decode().splitlines()[0] == f"milepost: job {job.id}"
    snapshot = job.ended()
    assert (snapshot["name"], snapshot["status"]) == ("Nightly", status)
    assert (snapshot["error"] or {}).get("message") == message


def test_what_it_writes_is_passed_on_to_the_byte_and_logged(job: RunJob) -> None:
    program = (
        "import os, time\n"
        "for _ in range(2): os.write(1, bytes(range(256))); os.write(2, b'\\x1b[31mred\\x1b[0m\\r\\nno end')\n"
        "raise SystemExit(1)"
    )
    ended = job.run("--quiet", "--", *python(program))
    assert ended.stdout == bytes(range(256)) * 2
    assert ended.stderr == b"\x1b[31mred\x1b[0m\r\nno end" * 2
    snapshot = job.ended()
    assert [line for line in lines(snapshot) if "red" in line or "end" in line] == ["red", "no endred", "no end"]
    assert snapshot["error"] == {"message": "exit status 1", "details": "red\nno endred\nno end"}


def test_without_a_word_on_stderr_the_last_words_are_stdout_s(job: RunJob) -> None:
    job.run("--", "sh", "-c", "seq 100; exit 1")
    assert job.ended()["error"]["details"].splitlines() == [str(number) for number in range(81, 101)]


def test_a_line_comes_at_once_and_half_a_line_too(job: RunJob) -> None:
    program = "printf 'half a '; read more; echo $more"
    with job.start("--quiet", "--", "sh", "-c", program, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert os.read(process.stdout.fileno(), 100) == b"half a "
        process.stdin.write(b"line\n")
        process.stdin.close()
        assert process.stdout.read() == b"line\n"
        assert process.wait(30) == 0
    assert lines(job.ended()) == ["half a line"]


def test_two_outputs_that_are_one_keep_their_order(job: RunJob) -> None:
    program = "import os\nfor n in range(500): os.write(1 + n % 2, b'%d\\n' % n)"
    with job.start("--quiet", "--", *python(program), stderr=subprocess.STDOUT) as process:
        out, _ = process.communicate(timeout=60)
    assert out.split() == [b"%d" % number for number in range(500)]


def test_reporters_inside_take_part(job: RunJob) -> None:
    program = (
        "from milepost_reporter import Reporter\n"
        "with Reporter.from_env() as job:\n"
        "    with job.node('load', 'Load', total=2) as node: node.advance(2)\n"
        "    job.result({'rows': 2})\n"
        "print('after the end of its with')\n"
        "raise SystemExit(4)"
    )
    assert job.run("--run", "7", "--name", "Outside", "--", *python(program)).returncode == 4
    snapshot = job.ended()
    assert (snapshot["name"], snapshot["run"], snapshot["status"]) == ("Outside", 7, "failed")
    assert nodes(snapshot)["Load"]["rowCount"] == 2
    assert snapshot["result"] == {"rows": 2}
    assert lines(snapshot) == ["after the end of its with"]


def test_a_run_inside_a_run_is_a_node_of_it(job: RunJob) -> None:
    steps = "milepost run --name Extract -- echo extracted && milepost run -- sh -c 'echo oops >&2; exit 5'"
    ended = job.run("--name", "Nightly", "--", "sh", "-c", steps)
    assert ended.returncode == 5
    assert ended.stdout == b"extracted\n"
    assert ended.stderr == f"milepost: job {job.id}\noops\n".encode()
    snapshot = job.ended()
    assert snapshot["status"] == "failed"
    assert nodes(snapshot)["Extract"]["status"] == "completed"
    assert nodes(snapshot)["sh"]["error"]["message"] == "exit status 5"
    assert sorted(lines(snapshot)) == ["extracted", "oops"]


def test_a_run_inside_a_run_with_a_job_of_its_own(job: RunJob, service: Service, shared_nats: NatsServer) -> None:
    other = RunJob(service, shared_nats.url, job.tenant)
    job.run("--run", "4", "--", "milepost", "run", "--job", other.id, "--", "echo", "inside")
    assert other.ended()["run"] == 1
    assert lines(other.ended()) == ["inside"]
    assert job.ended()["nodes"] == []


def test_a_bar_of_tqdm_is_a_node(job: RunJob) -> None:
    program = (
        "import sys, time\nfrom tqdm import tqdm\n"
        "for _ in tqdm(range(1000), desc='Load', unit='rows'): pass\n"
        "for _ in tqdm(iter(range(5)), desc='Check'): time.sleep(0.01)\n"
        "print('done')"
    )
    ended = job.run("--", *python(program))
    assert b"1000/1000" in ended.stderr
    snapshot = job.ended()
    load, check = nodes(snapshot)["Load"], nodes(snapshot)["Check"]
    assert (load["rowCount"], load["total"], load["unit"], load["status"]) == (1000, 1000, "rows", "completed")
    assert (check["rowCount"], check.get("total"), check["status"]) == (5, None, "completed")
    assert lines(snapshot) == ["done"]


def test_what_it_leaves_behind_on_purpose_is_left_alone_and_not_waited_for(job: RunJob) -> None:
    seconds = mark()
    ended = job.run("--", "sh", "-c", f"sleep {seconds} & echo started")
    assert ended.returncode == 0
    assert ended.stdout == b"started\n"
    left = sleepers(seconds)
    assert len(left) == 1
    left[0].kill()
    assert job.ended()["status"] == "completed"


def test_a_flood_is_passed_on_whole_counted_and_held_in_little_memory(job: RunJob) -> None:
    program = "yes 'a line of the flood' | head -c 200000000; head -c 100000000 /dev/zero; echo; echo last"
    with job.start("--", "sh", "-c", program) as process:
        assert process.stdout is not None
        size = most = 0
        while read := process.stdout.read1(1 << 20):  # type: ignore[attr-defined] # a buffered reader has it
            size += len(read)
            most = max(most, psutil.Process(process.pid).memory_info().rss)
        assert process.wait(30) == 0
    assert size == 300_000_006
    assert most < 150_000_000
    snapshot = job.ended()
    assert lines(snapshot)[-1] == "last"
    assert any("left out here" in line for line in lines(snapshot))


def test_nobody_reads_any_more_and_the_command_is_told(job: RunJob) -> None:
    with job.start("--", "yes") as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE
    assert job.ended()["error"]["message"] == "killed by SIGPIPE"


@pytest.mark.parametrize(("program", "code"), [(["echo", "lost"], 1), (["yes"], 128 + signal.SIGPIPE)])
def test_a_full_disk_is_told_also_when_the_command_could_not_know(job: RunJob, program: list[str], code: int) -> None:
    told = "standard output: No space left on device"
    with Path("/dev/full").open("wb") as full, job.start("--quiet", "--", *program, stdout=full) as process:
        assert process.communicate(timeout=60)[1] == f"milepost: {told}\n".encode()
        assert process.returncode == code
    snapshot = job.ended()
    assert (snapshot["status"], snapshot["error"]["message"]) == ("failed", told)


WITHOUT = {"NATS_URL": "nats://127.0.0.1:1", "MILEPOST_TENANT": "acme"}


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({}, "MILEPOST_TENANT not set"),
        ({**WITHOUT, "MILEPOST_TENANT": "a.b"}, "tenant must be"),
        ({**WITHOUT, "NATS_URL": "nowhere"}, "nats_url must look like"),
        ({**WITHOUT, "MILEPOST_RUN_QUIET": "1"}, "NATS is not reachable"),
        ({"MILEPOST_MODE": "disabled"}, ""),
    ],
)
def test_without_anything_to_report_to_the_command_runs_all_the_same(env: dict[str, str], told: str) -> None:
    ended = milepost("run", "--", "sh", "-c", "cat; sleep 0.2; echo err >&2; exit 6", env=env, typed="typed")
    assert (ended.returncode, ended.stdout) == (6, "typed")
    warnings = [line for line in ended.stderr.splitlines() if line != "err"]
    assert len(warnings) == bool(told)
    assert told in "".join(warnings)
    assert "err" in ended.stderr.splitlines()


def test_nats_that_hangs_holds_up_nothing_but_the_last_words() -> None:
    with NatsServer() as server:
        env = {"NATS_URL": server.url, "MILEPOST_TENANT": "acme", "MILEPOST_CLOSE_TIMEOUT": "0.2"}
        server.pause()
        ended = milepost("run", "--quiet", "--", "sh", "-c", "seq 3; exit 6", env=env)
        server.resume()
    assert (ended.returncode, ended.stdout) == (6, "1\n2\n3\n")


def test_a_whole_command_line_given_as_one_word_is_not_told_as_the_job_s_name() -> None:
    ended = milepost("run", "--", "/opt/no-such-command --password=a/secret", env=WITHOUT)
    assert re.match(r"milepost: job no-such-command-[0-9a-f]{8}\n", ended.stderr)


@pytest.mark.parametrize(
    ("closed", "out", "err"),
    [(">&-", "", "err\n"), ("<&- >&- 2>&-", "", "")],
)
def test_a_descriptor_that_was_closed_is_nobody_else_s(job: RunJob, closed: str, out: str, err: str) -> None:
    words = ["sh", "-c", "echo out; echo err >&2; exit 6"]
    given = shlex.join([script(), "run", "--quiet", "--", *words])
    env = environment(job.env)
    ended = subprocess.run(["/bin/sh", "-c", f"{given} {closed}"], env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (6, out, err)
    snapshot = job.ended()
    assert (snapshot["status"], sorted(lines(snapshot))) == ("failed", ["err", "out"])


def test_a_script_that_does_not_say_whose_it_is_is_the_shell_s(tmp_path: Path) -> None:
    script = tmp_path / "nightly"
    script.write_text('echo "$0" "$1"; exit 4\n')
    script.chmod(0o755)
    env = {"MILEPOST_MODE": "disabled", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    ended = milepost("run", "--", "nightly", "a b", env=env)
    assert (ended.returncode, ended.stdout) == (4, f"{script} a b\n")


def test_what_stands_behind_the_command_is_the_command_s() -> None:
    env = {"MILEPOST_MODE": "disabled"}
    assert milepost("run", "echo", "--name", "x", "--", "-h", env=env).stdout == "--name x -- -h\n"
    assert milepost("run", "--", "echo", "--", "--quiet", env=env).stdout == "-- --quiet\n"


def test_descriptors_and_ignored_signals_are_as_ever(job: RunJob) -> None:
    reading, writing = os.pipe()
    program = f"import os; os.write({writing}, b'through'); os.kill(os.getpid(), 1); print('unharmed')"
    with job.start(
        "--quiet", "--", *python(program), pass_fds=[writing],
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    ) as process:  # fmt: skip
        os.close(writing)
        out, _ = process.communicate(timeout=60)
    assert out == b"unharmed\n"
    assert os.read(reading, 100) == b"through"
    os.close(reading)
