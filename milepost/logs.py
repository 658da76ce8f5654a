"""Logs: coloured lines for a person on a terminal, one JSON object a line for a machine off it.

Everything goes through the root logger, uvicorn's and nats-py's records too. No line ever shows a token
that came in a URL, whoever logged it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, TextIO

import typer

_SECRETS: Final = re.compile(r"(?i)((?:[?&]|%3F|%26)(?:access_)?token(?:=|%3D))[^&\s\"'<>]+")
_COLOURS: Final = {"DEBUG": "\x1b[2m", "INFO": "\x1b[36m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_OUR_OWN_HANDLERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "nats")


class LogLevel(StrEnum):
    """The least severe lines that are shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a line looks; `auto` is `text` on a terminal and `json` off it."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


LevelOption = Annotated[
    LogLevel, typer.Option("--log-level", envvar="MILEPOST_LOG_LEVEL", help="The least severe lines shown.")
]
FormatOption = Annotated[
    LogFormat,
    typer.Option("--log-format", envvar="MILEPOST_LOG_FORMAT", help="auto is text on a terminal and json off it."),
]


def redact(text: str) -> str:
    """`text` with the value of every `?token=` taken out."""
    return _SECRETS.sub(r"\1***", text)


def configure(level: LogLevel, style: LogFormat = LogFormat.AUTO, stream: TextIO | None = None) -> None:
    """Send every logger of this process to `stream` (standard error by default), from `level` up."""
    stream = stream or sys.stderr
    text = style is LogFormat.TEXT or (style is LogFormat.AUTO and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter(colour=stream.isatty()) if text else JsonFormatter())
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)
    for name in _OUR_OWN_HANDLERS:
        # a library that brought handlers of its own would print every line twice, and unredacted
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    if level is not LogLevel.DEBUG:
        # "Started server process", "Waiting for application startup": news to nobody
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """`12:01:02 WARNING  bridge  message`, in colour when asked for."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it if the record has one."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = f"{record.levelname:<7}"
        name = record.name.removeprefix("milepost_")
        if self._colour:
            at, name = f"{_DIM}{at}{_PLAIN}", f"{_DIM}{name}{_PLAIN}"
            level = f"{_COLOURS.get(record.levelname, '')}{level}{_PLAIN}"
        line = f"{at} {level} {name}: {record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


class JsonFormatter(logging.Formatter):
    """One JSON object: `at` (RFC 3339, UTC), `level`, `logger`, `message`, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line without line breaks."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)
