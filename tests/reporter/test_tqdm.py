"""tqdm's own bars, of every kind, as nodes of the job and as lines."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import multiprocessing
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import tqdm as plain
import tqdm.asyncio
import tqdm.auto
import tqdm.notebook
import tqdm.std
from milepost_reporter import Reporter
from milepost_reporter.recording import RecordingReporter
from milepost_reporter.tqdm import adopt_tqdm, trange
from milepost_reporter.tqdm import tqdm as reporting
from tqdm.contrib.concurrent import process_map, thread_map

from milepost.nats_server import NatsServer
from tests.reporter.subscriber import Subscriber
from tests.reporter.tqdm_job import reaching

Tqdm = Callable[..., Any]


@pytest.fixture(params=["imported", "adopted"])
def bar(request: pytest.FixtureRequest) -> Iterator[Tqdm]:
    """A class whose bars report: ours, and tqdm's own as it was imported before it was adopted."""
    if request.param == "imported":
        yield reporting
        return
    with adopt_tqdm():
        yield plain.tqdm


@pytest.fixture
def job() -> Iterator[RecordingReporter]:
    with Reporter.recording() as job:
        yield job


def nodes(job: RecordingReporter) -> list[dict[str, Any]]:
    """Each as it stands."""
    found: list[dict[str, Any]] = job.state.snapshot()["nodes"]
    return found


def told(job: RecordingReporter, *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(node.get(field) for field in fields) for node in nodes(job)]


def quiet() -> dict[str, Any]:
    return {"file": io.StringIO()}


def test_a_loop_is_a_node(bar: Tqdm, job: RecordingReporter) -> None:
    assert list(bar(range(20), "Load", unit="rows", **quiet())) == list(range(20))
    assert told(job, "nodeName", "status", "rowCount", "total", "unit") == [("Load", "completed", 20, 20, "rows")]
    assert [event["status"] for event in job.of_kind("progress")] == ["running", "completed"]


def test_without_a_description_it_has_a_name_all_the_same(bar: Tqdm, job: RecordingReporter) -> None:
    for _ in bar(iter("abc"), **quiet()):
        pass
    assert told(job, "nodeName", "status", "rowCount", "total") == [("progress", "completed", 3, None)]


def test_what_is_set_on_the_way_is_told(bar: Tqdm, job: RecordingReporter) -> None:
    with bar(total=10, **quiet()) as shown:
        shown.update(4)
        shown.set_description("Second half")
        shown.set_postfix(loss=0.25)
        shown.reset(total=20)
        shown.update(6)
    assert told(job, "nodeName", "rowCount", "total", "message") == [("Second half", 6, 20, "loss=0.25")]


def test_amounts_are_told_as_they_are_shown(bar: Tqdm, job: RecordingReporter) -> None:
    with bar(total=10, unit_scale=512, unit="B", **quiet()) as shown:
        shown.update(3)
    assert told(job, "rowCount", "total", "unit") == [(1_536, 5_120, "B")]


def left_by(error: BaseException | None, bar: Tqdm) -> None:
    with bar(total=10, **quiet()) as shown:
        shown.update(5)
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "completed"),
        (ValueError("bad row"), "failed"),
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_block_ends_as_it_is_left(
    bar: Tqdm, job: RecordingReporter, error: BaseException | None, status: str
) -> None:
    with contextlib.nullcontext() if error is None else pytest.raises(type(error)):
        left_by(error, bar)
    assert told(job, "status") == [(status,)]
    assert nodes(job)[0].get("error", {}).get("message") == ("ValueError: bad row" if status == "failed" else None)


def rows() -> Iterator[int]:
    yield 1
    raise OSError("no disk")


def test_an_iterable_that_raises_fails_its_bar(bar: Tqdm, job: RecordingReporter) -> None:
    with pytest.raises(OSError, match="no disk"):
        list(bar(rows(), **quiet()))
    assert told(job, "status", "message") == [("failed", "OSError: no disk")]


def test_a_loop_left_early_is_cancelled(bar: Tqdm, job: RecordingReporter) -> None:
    """As with `track`: by `break` or by an exception of the loop's body cannot be told from inside."""
    for number in bar(range(10), **quiet()):
        if number == 3:
            break
    assert told(job, "status", "rowCount") == [("cancelled", 3)]


def test_an_exception_that_somebody_else_handles_is_not_the_bars(bar: Tqdm, job: RecordingReporter) -> None:
    try:
        list(rows())
    except OSError:
        list(bar(range(3), **quiet()))
        left_by(None, bar)
    assert told(job, "status") == [("completed",), ("completed",)]


def test_a_bar_nobody_closes_ends_as_far_as_it_came(bar: Tqdm, job: RecordingReporter) -> None:
    bar(total=2, **quiet()).update(1)
    bar(total=2, **quiet()).update(2)
    assert told(job, "status") == [("cancelled",), ("completed",)]


def test_a_disabled_bar_tells_nothing(bar: Tqdm, job: RecordingReporter) -> None:
    list(bar(range(3), disable=True, **quiet()))
    assert nodes(job) == []


def test_one_that_disables_itself_off_a_terminal_reports_unseen(bar: Tqdm, job: RecordingReporter) -> None:
    output = io.StringIO()
    list(bar(range(3), disable=None, file=output))
    assert told(job, "status", "rowCount") == [("completed", 3)]
    assert output.getvalue() == ""


def test_with_nobody_to_report_to_it_stays_disabled(bar: Tqdm) -> None:
    with Reporter.disabled():
        assert bar(range(3), disable=None, **quiet()).disable


def test_one_that_is_not_shown_before_it_is_over_is_no_node(bar: Tqdm, job: RecordingReporter) -> None:
    list(bar(range(3), delay=60, **quiet()))
    assert nodes(job) == []


def test_thousands_of_inner_bars_are_one_node(bar: Tqdm, job: RecordingReporter) -> None:
    for _ in bar(range(3_000), desc="outer", **quiet()):
        for _ in bar(range(2), desc="inner", leave=False, **quiet()):
            pass
    assert told(job, "nodeName", "rowCount", "total") == [("outer", 3_000, 3_000), ("inner", 0, 2)]
    assert len(job.events) < 20


def test_loops_at_different_places_are_different_nodes(bar: Tqdm, job: RecordingReporter) -> None:
    list(bar(range(3), **quiet()))
    list(bar(range(4), **quiet()))
    assert told(job, "rowCount") == [(3,), (4,)]


def test_many_names_are_a_bounded_number_of_nodes(bar: Tqdm, job: RecordingReporter) -> None:
    for number in range(1_100):
        bar(total=1, desc=f"file {number}", **quiet()).close()
    assert 1_000 <= len(nodes(job)) < 1_010


def test_bars_open_at_once_are_nodes_of_their_own(bar: Tqdm, job: RecordingReporter) -> None:
    started = threading.Barrier(4)

    def work(number: int) -> None:
        with bar(total=10, desc="same", position=0, **quiet()) as shown:
            started.wait()
            shown.update(number)
            started.wait()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told(job, "rowCount")) == [(0,), (1,), (2,), (3,)]


def test_a_job_that_fails_ends_its_open_bars_with_it(bar: Tqdm, job: RecordingReporter) -> None:
    with bar(total=2, **quiet()):
        job.fail("no disk")
    assert told(job, "status") == [("failed",)]


class Unwilling:
    """A description that cannot be written more than once."""

    def __init__(self) -> None:
        self.asked = 0

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_whatever_reporting_raises_is_counted_and_goes_no_further(bar: Tqdm, job: RecordingReporter) -> None:
    with bar(total=2, file=io.StringIO()) as shown:
        shown.postfix = Unwilling()
        shown.unit = Unwilling()
        with pytest.raises(RuntimeError):
            str(shown.unit)
    assert job.stats.refused > 0


def test_a_shown_bar_costs_its_iterations_nothing() -> None:
    """What tqdm calls for each one is tqdm's own."""
    with adopt_tqdm():
        assert plain.tqdm.update is tqdm.std.tqdm.__dict__["update"]
        for name in ("update", "__iter__"):
            assert getattr(plain.tqdm, name).__module__ == "tqdm.std"
            assert getattr(reporting, name).__module__ in ("tqdm.std", "tqdm.notebook")


def test_adopting_twice_is_adopting_once_and_can_be_undone() -> None:
    before = {name: vars(plain.tqdm)[name] for name in ("__init__", "refresh", "display", "clear", "close")}
    with adopt_tqdm():
        hooked = plain.tqdm.refresh
        with adopt_tqdm(Reporter.recording()):
            assert plain.tqdm.refresh is hooked
        assert plain.tqdm.refresh is hooked
    assert {name: vars(plain.tqdm)[name] for name in before} == before


def test_it_may_be_given_its_reporter(job: RecordingReporter) -> None:
    given = Reporter.recording()
    with adopt_tqdm(given):
        list(plain.tqdm(range(3), **quiet()))
        list(reporting(range(3), **quiet()))
    list(plain.tqdm(range(3), file=io.StringIO()))
    assert len(nodes(given)) == 2
    assert nodes(job) == []


def test_a_bar_that_is_open_already_is_adopted(job: RecordingReporter) -> None:
    shown = plain.tqdm(total=3, mininterval=0, miniters=1, **quiet())
    with adopt_tqdm():
        shown.update()
        shown.update(2)
        shown.close()
    assert told(job, "status", "rowCount") == [("completed", 3)]


# tqdm's other classes


async def test_asyncio(job: RecordingReporter) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    async def one(number: int) -> int:
        return number

    async for _ in reporting(numbers(), desc="async for", **quiet()):
        pass
    assert await reporting.gather(one(1), one(2), desc="gather", **quiet()) == [1, 2]
    for future in reporting.as_completed([one(1)], desc="as_completed", **quiet()):
        await future
    with adopt_tqdm():
        async for _ in tqdm.asyncio.tqdm(numbers(), desc="adopted", **quiet()):
            pass
    assert told(job, "nodeName", "status", "rowCount") == [
        ("async for", "completed", 5),
        ("gather", "completed", 2),
        ("as_completed", "completed", 1),
        ("adopted", "completed", 5),
    ]


async def test_an_asynchronous_iterable_that_raises_fails_its_bar(job: RecordingReporter) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        async for _ in reporting(broken(), **quiet()):
            pass
    assert told(job, "status", "rowCount") == [("failed", 1)]


def test_a_notebooks_bar(job: RecordingReporter, capsys: pytest.CaptureFixture[str]) -> None:
    """With real widgets, though no notebook shows them."""
    with adopt_tqdm():
        for _ in tqdm.notebook.tqdm(range(7), desc="cells"):
            pass
        shown = tqdm.notebook.tqdm(total=4, desc="by hand", display=False)
        shown.update(2)
        shown.refresh()
        assert shown.container.children[1].value == 2
        shown.close()
    assert told(job, "nodeName", "status", "rowCount", "total") == [
        ("cells", "completed", 7, 7),
        ("by hand", "completed", 2, 4),
    ]
    assert "Load" not in capsys.readouterr().out


def test_rich(job: RecordingReporter) -> None:
    from tqdm.rich import tqdm as rich

    with adopt_tqdm(), warnings.catch_warnings():
        warnings.simplefilter("ignore", plain.TqdmExperimentalWarning)
        for _ in rich(range(3), desc="rich"):
            pass
    assert told(job, "nodeName", "status", "rowCount") == [("rich", "completed", 3)]


def test_pools(job: RecordingReporter) -> None:
    with adopt_tqdm():
        assert thread_map(abs, [-1, -2], desc="threads", max_workers=2, **quiet()) == [1, 2]
    fork = multiprocessing.get_context("fork")
    assert process_map(abs, [-1, -2], desc="processes", tqdm_class=reporting, mp_context=fork, **quiet()) == [1, 2]
    assert told(job, "nodeName", "status", "rowCount") == [
        ("threads", "completed", 2),
        ("processes", "completed", 2),
    ]


def test_the_class_can_be_handed_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(reporting)) is reporting  # noqa: S301


def test_workers_bars_are_nodes_of_their_parents_job(shared_nats: NatsServer) -> None:
    """Those of a process that says nowhere where its job begins and ends; forked, and started afresh."""
    code = """if __name__ == "__main__":
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from milepost_reporter.tqdm import tqdm
    from tests.reporter import tqdm_job
    for method, rows in tqdm([("fork", 3), ("spawn", 5)], desc="parent"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            assert list(pool.map(tqdm_job.count, [rows, rows + 1])) == [rows, rows + 1]
"""
    env = reaching(shared_nats, "workers")
    with Subscriber(shared_nats.url, "workers") as subscriber:
        ended = subprocess.run([sys.executable, "-c", code], env=env, check=False, capture_output=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        subscriber.caught_up()
        finished = {
            event["nodeName"]
            for event in subscriber.events
            if event.get("status") == "completed" and "nodeName" in event
        }
        assert finished == {"parent", "worker 3", "worker 4", "worker 5", "worker 6"}
        assert len({message.subject.split(".")[3] for message in subscriber.once}) == 1
        assert [event["status"] for event in subscriber.of(kind="job")] == ["running", "completed"]


def test_without_tqdm_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.delitem(sys.modules, "milepost_reporter.tqdm")
    with pytest.raises(ImportError, match=r"needs tqdm: pip install 'milepost-reporter\[tqdm\]'$"):
        importlib.import_module("milepost_reporter.tqdm")


def test_trange(job: RecordingReporter) -> None:
    assert list(trange(2, 5, desc="Load", **quiet())) == [2, 3, 4]
    assert isinstance(trange(1, **quiet()), plain.tqdm)
    assert told(job, "nodeName", "rowCount")[0] == ("Load", 3)
