"""Logs are lines for people on a terminal, JSON off it, and never show a token."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost import logs
from milepost.logs import JsonFormatter, LogFormat, LogLevel, TextFormatter, redact


class Terminal(io.StringIO):
    """A text stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def loggers() -> Iterator[None]:
    """Every logger as it was before, whatever the test configures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    others = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "nats")]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in others]
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, own, own_level, propagate in before:
        logger.handlers[:] = own
        logger.setLevel(own_level)
        logger.propagate = propagate


@pytest.mark.usefixtures("loggers")
def test_off_a_terminal_a_line_is_one_json_object() -> None:
    stream = io.StringIO()
    logs.configure(LogLevel.INFO, stream=stream)
    logging.getLogger("milepost_hub").warning("two\nlines with %s", "ümlaut")
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert line["level"] == "warning"
    assert line["logger"] == "milepost_hub"
    assert line["message"] == "two\nlines with ümlaut"
    assert line["at"].endswith("Z")


@pytest.mark.usefixtures("loggers")
def test_on_a_terminal_a_line_is_for_people_and_in_colour() -> None:
    stream = Terminal()
    logs.configure(LogLevel.INFO, stream=stream)
    logging.getLogger("milepost_hub").warning("take care")
    assert "take care" in stream.getvalue()
    assert "\x1b[33mWARNING" in stream.getvalue()
    assert "{" not in stream.getvalue()


@pytest.mark.usefixtures("loggers")
def test_the_format_can_be_chosen() -> None:
    stream = Terminal()
    logs.configure(LogLevel.INFO, LogFormat.JSON, stream)
    logging.getLogger("x").error("hello")
    assert json.loads(stream.getvalue())["message"] == "hello"


@pytest.mark.usefixtures("loggers")
def test_the_level_holds_back_what_is_below_it() -> None:
    stream = io.StringIO()
    logs.configure(LogLevel.WARNING, stream=stream)
    logging.getLogger("x").info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("loggers")
def test_uvicorn_and_nats_speak_through_the_same_lines() -> None:
    stream = io.StringIO()
    logging.getLogger("uvicorn.access").addHandler(logging.StreamHandler(io.StringIO()))
    logs.configure(LogLevel.DEBUG, stream=stream)
    for name in ("uvicorn.error", "uvicorn.access", "nats.aio.client"):
        logging.getLogger(name).info("hello")
    told = [json.loads(line)["logger"] for line in stream.getvalue().splitlines()]
    assert told == ["uvicorn.error", "uvicorn.access", "nats.aio.client"]


@pytest.mark.usefixtures("loggers")
def test_an_exception_comes_with_its_traceback() -> None:
    for style, place in ((LogFormat.JSON, "error"), (LogFormat.TEXT, None)):
        stream = io.StringIO()
        logs.configure(LogLevel.INFO, style, stream)
        gone: dict[str, int] = {}
        try:
            gone["gone"]
        except KeyError:
            logging.getLogger("x").exception("it broke")
        text = json.loads(stream.getvalue())[place] if place else stream.getvalue()
        assert "Traceback" in text
        assert "KeyError: 'gone'" in text


@pytest.mark.parametrize(
    "line",
    [
        '127.0.0.1 - "GET /ws?token=SECRET HTTP/1.1" 101',
        "GET /api/jobs?limit=2&token=SECRET&q=x",
        "ws://host/ws?access_token=SECRET",
        "/ws%3Ftoken%3DSECRET",
        "/ws?TOKEN=SECRET'",
    ],
)
def test_a_token_in_a_url_is_never_shown(line: str) -> None:
    for formatter in (JsonFormatter(), TextFormatter(colour=False)):
        record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, "%s", (line,), None)
        assert "SECRET" not in formatter.format(record)


@given(st.text(alphabet=st.characters(categories=["L", "N"], include_characters="-_."), min_size=8))
def test_whatever_the_token_is_it_is_taken_out(token: str) -> None:
    assert redact(f"GET /ws?a=1&token={token} HTTP/1.1") == "GET /ws?a=1&token=*** HTTP/1.1"
