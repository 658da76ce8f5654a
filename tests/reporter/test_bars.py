"""tqdm's bars as they are printed: off a terminal, on one, inside `milepost run`, and on their page."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tqdm as plain
from milepost_hub.token import issue
from milepost_reporter import Reporter
from milepost_reporter.bar_line import Reading, last_line, line
from milepost_reporter.current import current
from milepost_reporter.recording import RecordingReporter
from milepost_reporter.tqdm import adopt_tqdm
from milepost_reporter.tqdm import tqdm as reporting

from milepost.nats_server import NatsServer
from milepost.printed_bar import parse_bar
from tests.docs.block import ROOT
from tests.docs.printed import masked, printed
from tests.milepost.conftest import SECRET, serving
from tests.milepost.console import environment, script
from tests.reporter.subscriber import Subscriber
from tests.reporter.tqdm_job import reaching

Tqdm = Callable[..., Any]


@pytest.fixture(params=["imported", "adopted"])
def bar(request: pytest.FixtureRequest) -> Iterator[Tqdm]:
    """A class whose bars report, within a job of the test's own."""
    with Reporter.recording():
        if request.param == "imported":
            yield reporting
            return
        with adopt_tqdm():
            yield plain.tqdm


def test_off_a_terminal_a_bar_is_a_line_now_and_then(bar: Tqdm) -> None:
    output = io.StringIO()
    with bar(total=100, desc="Load", unit="rows", mininterval=0, file=output) as shown:
        for _ in range(100):
            shown.update()
        shown.set_postfix(loss=1)
    first, last = output.getvalue().splitlines()
    assert first == "Load: 0/100 rows, 0 %"
    assert last.startswith("Load: 100/100 rows, 100 %, ")
    assert last.endswith(" rows/s, in 0 s, loss=1")
    assert "\r" not in output.getvalue()


def test_the_interval_can_be_set(bar: Tqdm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_LINE_INTERVAL", "0.000001")
    output = io.StringIO()
    with bar(total=5, mininterval=0, miniters=1, file=output) as shown:
        for _ in range(5):
            shown.update()
    assert [line.split(",")[0] for line in output.getvalue().splitlines()] == [
        f"progress: {number}/5 it" for number in (0, 1, 2, 3, 4, 5, 5)
    ]


def test_an_interval_of_zero_is_tqdms_own_way(bar: Tqdm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_LINE_INTERVAL", "0")
    output = io.StringIO()
    list(bar(range(3), desc="Load", file=output))
    assert output.getvalue().startswith("\rLoad:   0%|")


def test_inner_bars_keep_the_pace_of_lines(bar: Tqdm) -> None:
    output = io.StringIO()
    for _ in bar(range(50), desc="outer", file=output):
        for _ in bar(range(3), desc="inner", file=output):
            pass
    assert [line.split(":")[0] for line in output.getvalue().splitlines()] == ["outer", "inner", "inner", "outer"]


def test_a_bar_that_is_not_to_stay_has_no_last_line(bar: Tqdm) -> None:
    output = io.StringIO()
    list(bar(range(3), desc="Load", leave=False, file=output))
    assert output.getvalue() == "Load: 0/3 it, 0 %\n"


def test_what_is_written_past_the_bar_stands_between_its_lines(bar: Tqdm) -> None:
    output = io.StringIO()
    with bar(total=1, desc="Load", file=output) as shown:
        shown.write("a word", file=output)
        shown.fp.write("another\n")
    assert [line.split(",")[0] for line in output.getvalue().splitlines()] == [
        "Load: 0/1 it",
        "a word",
        "another",
        "Load: 0/1 it",
    ]


class Sink:
    """All that tqdm needs to write to."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


def test_what_cannot_be_flushed_has_lines_too(bar: Tqdm) -> None:
    output = Sink()
    list(bar(range(3), desc="Load", file=output))
    assert len(output.text.splitlines()) == 2
    assert current().stats.refused == 0


def test_a_class_that_shows_itself_elsewhere_does_so_alone(bar: Tqdm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_OWNER", "no")
    shown, output = [], io.StringIO()

    class Elsewhere(bar):  # type: ignore[valid-type, misc] # any of them
        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            shown.append(self.n)

    list(Elsewhere(range(3), mininterval=0, miniters=1, file=output))
    assert shown == [0, 1, 2, 3, 3]
    assert output.getvalue() == "\n"
    list(Elsewhere(range(3), disable=None, file=output))
    assert len(shown) == 5
    job = current()
    assert isinstance(job, RecordingReporter)
    assert job.state.snapshot()["nodes"][0]["rowCount"] == 3


SHOWS = "from milepost_reporter.tqdm import tqdm\nfor _ in tqdm(range(3), 'Load'): pass"


def on_a_terminal(env: dict[str, str], *before: str) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([*before, sys.executable, "-c", SHOWS], env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4_096):
            shown += part
    except OSError:  # its other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


def test_on_a_terminal_it_looks_as_ever(shared_nats: NatsServer) -> None:
    with Subscriber(shared_nats.url, "terminal") as subscriber:
        shown = on_a_terminal(reaching(shared_nats, "terminal", MILEPOST_JOB="1"))
        subscriber.caught_up()
    assert "\rLoad: 100%|" in shown
    assert subscriber.of(nodeName="Load")


@pytest.mark.parametrize("printed_to", ["terminal", "pipe"])
def test_inside_milepost_run_a_bar_is_one_node(shared_nats: NatsServer, printed_to: str) -> None:
    """Recognised on the terminal, where it looks like tqdm's, and left to that; reported by itself elsewhere."""
    env = reaching(shared_nats, f"inside-{printed_to}")
    with Subscriber(shared_nats.url, env["MILEPOST_TENANT"]) as subscriber:
        if printed_to == "terminal":
            assert "Load: 100%|" in on_a_terminal(env, script(), "run", "--")
        else:
            command = [script(), "run", "--", sys.executable, "-c", SHOWS]
            ended = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
            assert "Load: 0/3 it, 0 %" in ended.stderr.splitlines()
        subscriber.caught_up()
    assert len({event["nodeId"] for event in subscriber.of(nodeName="Load")}) == 1
    assert subscriber.of(nodeName="Load", status="completed", rowCount=3)


def test_lines_are_not_taken_for_tqdms_bars() -> None:
    for read in (Reading("Load", 3, 10, "it", "a=1", 2.5, 1.2), Reading("Load", 3, None, "it", None, 2.5, 1.2)):
        assert parse_bar(line(read)) is None
        assert parse_bar(last_line(read, "completed")) is None


def test_without_nats_there_are_bars_all_the_same() -> None:
    given = {"NATS_URL": "nats://127.0.0.1:1", "MILEPOST_TENANT": "acme", "MILEPOST_UNREACHABLE_TIMEOUT": "0.01"}
    ended = subprocess.run(
        [sys.executable, "-c", SHOWS], env=environment(given), check=True, capture_output=True, text=True
    )
    assert ended.stderr.splitlines()[0] == "Load: 0/3 it, 0 %"


def test_in_a_notebook_it_is_the_notebooks_bar() -> None:
    """In a real kernel. Bars of the terminal's class, which a cell shows as a terminal does, look as ever there too."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.reporter.notebook"], cwd=ROOT, env=environment(), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    _, imported, asynchronous, widgets, plain_bar, nodes = json.loads(ran.stdout)
    assert "application/vnd.jupyter.widget-view+json" in imported
    assert "application/vnd.jupyter.widget-view+json" in asynchronous
    assert "application/vnd.jupyter.widget-view+json" in widgets
    assert "\rplain: 100%|" in plain_bar
    assert nodes.splitlines() == [
        "imported completed 5",
        "asynchronous completed 3",
        "widgets completed 4",
        "plain completed 2",
    ]


# The examples


def test_the_first_example_prints_what_its_page_shows(log_nats: NatsServer) -> None:
    with serving(log_nats.url) as service:
        env = reaching(log_nats, "acme", MILEPOST_JOB="days", MILEPOST_TOKEN=issue(SECRET, "acme"))
        program = [sys.executable, "examples/tqdm_loop.py"]
        ended = subprocess.run(program, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
        watching = [script(), "watch", "days", "--url", service.url]
        watched = subprocess.run(watching, env=env, check=True, capture_output=True, text=True)
    assert masked(ended.stderr) == masked(printed("tqdm.md", "python examples/tqdm_loop.py"))
    assert masked(watched.stdout) == masked(printed("tqdm.md", "milepost watch days"))


def test_the_second_example_prints_what_its_page_shows(shared_nats: NatsServer) -> None:
    env = reaching(shared_nats, "adopted", MILEPOST_JOB="1")
    program = [sys.executable, "examples/tqdm_adopted.py"]
    with Subscriber(shared_nats.url, "adopted") as subscriber:
        ended = subprocess.run(program, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
        subscriber.caught_up()
    assert masked(ended.stderr) == masked(printed("tqdm.md", "python examples/tqdm_adopted.py"))
    assert subscriber.of(nodeName="Convert", status="completed", rowCount=40, unit="files")
    assert subscriber.of(nodeName="Upload", status="completed", rowCount=2_000_000, message="parts=20")
