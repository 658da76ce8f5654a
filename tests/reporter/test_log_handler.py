"""Log records as the job's log lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import logging.config
import logging.handlers
import multiprocessing
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from milepost_reporter import LogHandler, Reporter
from milepost_reporter.payload import MAX_MESSAGE
from milepost_reporter.recording import RecordingReporter

from milepost.nats_server import NatsServer
from tests.docs.block import ROOT
from tests.docs.printed import masked, printed
from tests.milepost.console import environment
from tests.reporter.subscriber import Subscriber
from tests.waiting import eventually


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """One that nobody else hears."""
    logger = logging.getLogger("job")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def record(message: object, name: str = "job", level: int = logging.INFO, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(name, level, "job.py", 1, message, arguments, None)


def lines(job: RecordingReporter) -> list[tuple[str, str]]:
    return [(event["data"]["level"], event["message"]) for event in job.of_kind("log")]


def test_levels_and_arguments(logger: logging.Logger) -> None:
    logger.addHandler(LogHandler())
    with Reporter.recording() as job:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 35, 5):
            logger.log(level, "row %d", level)
    assert [level for level, _ in lines(job)] == ["debug", "info", "warning", "error", "error", "warning"]
    assert lines(job)[1] == ("info", "row 20")


def test_an_exception_comes_with_its_traceback(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(LogHandler(level="ERROR"))
    with Reporter.recording() as job:
        logger.info("not asked for")
        try:
            (tmp_path / "nothing").read_bytes()
        except OSError:
            logger.exception("row %d", 3)
    ((level, said),) = lines(job)
    assert level == "error"
    assert said.startswith("row 3\nTraceback")
    assert "FileNotFoundError: " in said.splitlines()[-1]


def test_a_long_record_keeps_its_beginning_and_its_end(logger: logging.Logger) -> None:
    logger.addHandler(LogHandler())
    with Reporter.recording() as job:
        logger.info("first %s last", "x" * 100_000)
    ((_, said),) = lines(job)
    assert len(said) <= MAX_MESSAGE
    assert (said[:6], said[-5:]) == ("first ", " last")


def test_arguments_that_do_not_fit_are_no_reason_to_lose_it() -> None:
    with Reporter.recording() as job:
        LogHandler().handle(record("row %d", "job", logging.INFO, "three"))
    ((_, said),) = lines(job)
    assert said.startswith("row %d ('three',)")


class Unwilling:
    """Cannot be written at all."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_what_cannot_be_told_is_counted() -> None:
    with Reporter.recording() as job:
        LogHandler().handle(record(Unwilling()))
    assert lines(job) == []
    assert job.stats.refused == 1


def test_a_flood_is_cut_and_told() -> None:
    handler = LogHandler(rate=0.001)
    with Reporter.recording() as job:
        for number in range(100):
            handler.handle(record(f"row {number}"))
        handler.flush()
    assert [said for _, said in lines(job)] == [
        "row 0",
        "more than 0.001 log records a second: some are left out",
        "99 log records were left out",
    ]


def test_after_a_flood_records_go_again(logger: logging.Logger) -> None:
    """A second's worth is saved up meanwhile; then the next one goes."""
    logger.addHandler(LogHandler(rate=20))
    with Reporter.recording() as job:

        def told_after(message: str) -> str:
            logger.info(message)
            return str(json.loads(job.payloads[-1])["message"])

        eventually(lambda: "some are left out" in told_after("flood"))
        eventually(lambda: told_after("again") == "again")
    assert lines(job)[-2][0] == "warning"
    assert "left out" in lines(job)[-2][1]
    assert lines(job)[-1] == ("info", "again")


def test_a_rate_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="rate must be"):
        LogHandler(rate=0)


def test_what_reporting_itself_says_is_left_out() -> None:
    handler = LogHandler()
    names = {"milepost_reporter": 40, "milepost_reporter.link": 40, "nats.aio.client": 40, "asyncio": 30}
    with Reporter.recording() as job:
        for name, level in names.items():
            handler.handle(record("of itself", name, level))
        handler.handle(record("a task's exception", "asyncio", logging.ERROR))
    assert lines(job) == [("error", "a task's exception")]


class Chatty(logging.Formatter):
    """Logs while it formats."""

    def format(self, record: logging.LogRecord) -> str:
        logging.getLogger("job").info("within")
        return super().format(record)


def test_a_record_that_comes_of_a_record_goes_round_no_circle(logger: logging.Logger) -> None:
    handler = LogHandler()
    handler.setFormatter(Chatty())
    logger.addHandler(handler)
    with Reporter.recording() as job:
        logger.info("one")
    assert lines(job) == [("info", "one")]


def configured(how: str, folder: Path) -> None:
    if how == "dictConfig":
        config: dict[str, Any] = {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"job": {"class": "milepost_reporter.LogHandler", "level": "INFO", "rate": 20}},
            "loggers": {"job": {"handlers": ["job"]}},
        }
        logging.config.dictConfig(config)
        return
    file = folder / "logging.ini"
    file.write_text(
        "[loggers]\nkeys=root,job\n[handlers]\nkeys=job\n[formatters]\nkeys=\n[logger_root]\nhandlers=\n"
        "[logger_job]\nqualname=job\nhandlers=job\npropagate=0\n"
        "[handler_job]\nclass=milepost_reporter.LogHandler\nlevel=INFO\nargs=()\n"
    )
    logging.config.fileConfig(file, disable_existing_loggers=False)


@pytest.mark.parametrize("how", ["dictConfig", "fileConfig"])
def test_configuration_can_name_it(how: str, logger: logging.Logger, tmp_path: Path) -> None:
    root = list(logging.getLogger().handlers)
    try:
        configured(how, tmp_path)
    finally:
        logging.getLogger().handlers[:] = root
    with Reporter.recording() as job:
        logger.debug("less")
        logger.info("more")
    assert lines(job) == [("info", "more")]


def test_behind_a_queue(logger: logging.Logger) -> None:
    """The listener's thread knows no block: it tells the one job that is there."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, LogHandler())
    logger.addHandler(logging.handlers.QueueHandler(waiting))
    with Reporter.recording() as job:
        listener.start()
        logger.warning("through %s", "a queue")
        listener.stop()
    assert lines(job) == [("warning", "through a queue")]


async def test_each_task_tells_its_own_job(logger: logging.Logger) -> None:
    logger.addHandler(LogHandler())
    both = asyncio.Barrier(2)

    async def task(name: str) -> list[tuple[str, str]]:
        async with Reporter.recording() as job:
            await both.wait()
            logger.info(name)
            await both.wait()
            return lines(job)

    first, second = await asyncio.gather(task("a"), task("b"))
    assert (first, second) == ([("info", "a")], [("info", "b")])


def test_it_may_be_given_its_reporter(logger: logging.Logger) -> None:
    job = Reporter.recording()
    logger.addHandler(LogHandler(reporter=job))
    with Reporter.recording() as other:
        logger.info("given")
    assert lines(job) == [("info", "given")]
    assert lines(other) == []


def test_what_we_warn_of_does_not_wait_for_who_is_in_the_handler() -> None:
    """That one may be waiting for us."""
    handler = LogHandler()
    warning = threading.Thread(target=handler.handle, args=(record("away", "milepost_reporter"),), daemon=True)
    with handler.lock or contextlib.nullcontext():
        warning.start()
        warning.join(10)
        assert not warning.is_alive()


def test_a_forked_child_tells_the_same_job(shared_nats: NatsServer, logger: logging.Logger) -> None:
    """Forked while the sender's thread has only begun to load its client."""
    logger.addHandler(LogHandler())
    with Subscriber(shared_nats.url, "logs") as subscriber:
        with Reporter(nats_url=shared_nats.url, tenant="logs", job=1):
            logger.info("parent")
            child = multiprocessing.get_context("fork").Process(target=logger.info, args=("child",))
            child.start()
            child.join()
        subscriber.until(message="parent")
        subscriber.until(message="child")


def test_without_a_reporter_nothing_comes_of_it(logger: logging.Logger) -> None:
    logger.addHandler(LogHandler())
    with Reporter.disabled():
        logger.info("nobody")


def test_the_example_prints_what_its_page_shows(shared_nats: NatsServer) -> None:
    given = {"NATS_URL": shared_nats.url, "MILEPOST_TENANT": "lines", "MILEPOST_UNREACHABLE_TIMEOUT": "20"}
    program = [sys.executable, "examples/log_lines.py"]
    with Subscriber(shared_nats.url, "lines") as subscriber:
        ended = subprocess.run(program, cwd=ROOT, env=environment(given), check=True, capture_output=True, text=True)
        subscriber.caught_up()
    said = ended.stderr.replace(f"{ROOT}/", "")
    assert masked(said) == masked(printed("logging.md", "python examples/log_lines.py"))
    records = subscriber.of(kind="log")
    assert [event["data"]["level"] for event in records] == ["info", "warning", "error", "info"]
    assert "".join(event["message"] + "\n" for event in records) == ended.stderr
