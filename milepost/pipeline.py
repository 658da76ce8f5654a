"""A real job over files that every machine with Python has: which names does the standard library use?

    scan the library's sources ──▶ tokenize ──▶ load into SQLite ──▶ index ──▶ query a report

Run it as any job program is run: `python -m milepost.pipeline`, told by the environment where to report
(`NATS_URL`, `MILEPOST_TENANT`, `MILEPOST_JOB`). Without those it does the same work and reports to nobody. `demo_jobs`
has it as a handler, for jobs that are submitted.
"""

from __future__ import annotations

import argparse
import keyword
import os
import sqlite3
import sys
import sysconfig
import time
import token
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from milepost_reporter import Reporter
from milepost_reporter.cancel import Cancelled, CancelToken

from milepost import errors

NAME: Final = "Names in the standard library"

SCAN, TOKENIZE, LOAD, INDEX, REPORT = 1, 2, 3, 4, 5
_PLAN: Final = (
    # weights: each node's share of the time on an ordinary machine
    {"nodeId": SCAN, "nodeName": "Scan sources", "weight": 0.05},
    {"nodeId": TOKENIZE, "nodeName": "Tokenize", "weight": 0.5},
    {"nodeId": LOAD, "nodeName": "Load into SQLite", "weight": 0.25},
    {"nodeId": INDEX, "nodeName": "Index", "weight": 0.1},
    {"nodeId": REPORT, "nodeName": "Query report", "weight": 0.1},
)
_EDGES: Final = ((SCAN, TOKENIZE), (TOKENIZE, LOAD), (LOAD, INDEX), (INDEX, REPORT))
_NAMES: Final = {node["nodeId"]: str(node["nodeName"]) for node in _PLAN}

_NOT_OURS: Final = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"})

_SCHEMA: Final = """
CREATE TABLE source (id INTEGER PRIMARY KEY, path TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE name (source INTEGER NOT NULL REFERENCES source, line INTEGER NOT NULL, word TEXT NOT NULL);
"""
_INDEXES: Final = (
    "CREATE INDEX name_by_word ON name (word)",
    "CREATE INDEX name_by_source ON name (source)",
)
QUERIES: Final = {
    "most used names": "SELECT word, count(*) FROM name GROUP BY word ORDER BY 2 DESC, 1 LIMIT 5",
    "in most files": (
        "SELECT word, count(DISTINCT source) FROM name WHERE length(word) > 6 GROUP BY word ORDER BY 2 DESC, 1 LIMIT 5"
    ),
    "files with most names": (
        "SELECT path, count(*) FROM name JOIN source ON source.id = name.source GROUP BY path "
        "ORDER BY 2 DESC, 1 LIMIT 5"
    ),
    "longest names": "SELECT DISTINCT word, length(word) FROM name ORDER BY 2 DESC, 1 LIMIT 5",
}
"""The report: a title, and a query for rows of text and number."""


_INSTRUCTIONS: Final = 10_000
"""Of SQLite's virtual machine, between two looks at whether the job is to stop."""


class Source(NamedTuple):
    """One file: its path below the library's root, and what is in it."""

    path: str
    content: bytes


class Word(NamedTuple):
    """One use of a name: where it stands, and which it is."""

    line: int
    word: str


Report = dict[str, list[tuple[str, int]]]


def library() -> Path:
    """The standard library's own sources."""
    return Path(sysconfig.get_path("stdlib"))


def run(
    job: Reporter,
    root: Path,
    database: Path | None,
    *,
    cancel: CancelToken | None = None,
    most: int | None = None,
) -> Report:
    """The whole job: the names used in the `.py` files under `root`, loaded into a database, and a report.

    Args:
        job: where it is reported.
        root: a folder.
        database: the file to fill; None: one that is gone with the job, however that ends.
        cancel: looked at between any two files, and while the database is at work.
        most: files that are looked at, at most.

    Raises:
        Cancelled: it was told to stop.
    """
    cancel = cancel or CancelToken()
    job.plan(_PLAN, _EDGES)
    paths = _find(root)[:most]
    job.log(f"{len(paths)} files under {root.name}")
    with closing(sqlite3.connect(database or "")) as connection, connection:
        # a statement that is at work when the job is told to stop ends within milliseconds
        connection.set_progress_handler(lambda: cancel.requested, _INSTRUCTIONS)
        connection.executescript(_SCHEMA)
        # generators: each file passes through all three before the next is read, so the nodes move together
        files = _tokenize(job, _scan(job, root, paths, cancel), len(paths))
        _load(job, connection, files, cancel)
        _index(job, connection, cancel)
        return _report(job, connection, cancel)


@contextmanager
def _stopping(cancel: CancelToken) -> Iterator[None]:
    """A statement that was interrupted because the job was told to stop has not failed."""
    try:
        yield
    except sqlite3.OperationalError:
        cancel.raise_if_requested()
        raise


def read_report(database: Path) -> Report:
    """The report's rows, from a database that the job has filled."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return {title: connection.execute(query).fetchall() for title, query in QUERIES.items()}


def _find(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_OURS]
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    return sorted(found)


def _scan(job: Reporter, root: Path, paths: list[Path], cancel: CancelToken) -> Iterator[Source]:
    with job.node(SCAN, _NAMES[SCAN], total=len(paths), unit="files") as node:
        for path in paths:
            cancel.raise_if_requested()
            yield Source(path.relative_to(root).as_posix(), path.read_bytes())
            node.advance()


def _tokenize(job: Reporter, sources: Iterable[Source], total: int) -> Iterator[tuple[Source, list[Word]]]:
    with job.node(TOKENIZE, _NAMES[TOKENIZE], total=total, unit="files") as node:
        for source in sources:
            try:
                yield source, _words(source)
            except (SyntaxError, tokenize.TokenError, UnicodeDecodeError) as error:
                job.log(f"{source.path} left out: {error}", level="warning")
            node.report(message=source.path)
            node.advance()


def _words(source: Source) -> list[Word]:
    lines = iter(source.content.splitlines(keepends=True))
    tokens = tokenize.tokenize(lambda: next(lines, b""))
    return [Word(item.start[0], item.string) for item in tokens if _is_name(item)]


def _is_name(item: tokenize.TokenInfo) -> bool:
    return item.type == token.NAME and not keyword.iskeyword(item.string)


def _load(
    job: Reporter, connection: sqlite3.Connection, files: Iterable[tuple[Source, list[Word]]], cancel: CancelToken
) -> None:
    with job.node(LOAD, _NAMES[LOAD], unit="rows") as node, _stopping(cancel):
        for number, (source, words) in enumerate(files, start=1):
            connection.execute("INSERT INTO source VALUES (?, ?, ?)", (number, source.path, len(source.content)))
            rows = ((number, word.line, word.word) for word in words)
            connection.executemany("INSERT INTO name VALUES (?, ?, ?)", rows)
            node.advance(len(words))


def _index(job: Reporter, connection: sqlite3.Connection, cancel: CancelToken) -> None:
    with job.node(INDEX, _NAMES[INDEX], total=len(_INDEXES), unit="indexes") as node, _stopping(cancel):
        for statement in _INDEXES:
            connection.execute(statement)
            node.advance()


def _report(job: Reporter, connection: sqlite3.Connection, cancel: CancelToken) -> Report:
    report: Report = {}
    with job.node(REPORT, _NAMES[REPORT], total=len(QUERIES), unit="queries") as node, _stopping(cancel):
        for title, query in QUERIES.items():
            node.report(message=title)
            report[title] = connection.execute(query).fetchall()
            node.advance()
    return report


def main(arguments: list[str] | None = None) -> int:
    """Run the job, reporting as the environment says; 0 when it completed, 3 when it was told to stop."""
    parser = argparse.ArgumentParser(prog="python -m milepost.pipeline", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=library(), help="where to look for .py files (%(default)s)")
    parser.add_argument("--database", type=Path, default=Path("names.sqlite"), help="the file to fill (%(default)s)")
    given = parser.parse_args(arguments)
    given.database.unlink(missing_ok=True)
    try:
        # Whoever starts it again has nobody who counts the runs of this job: the clock does.
        again = {"MILEPOST_NAME": NAME, "MILEPOST_RUN": str(int(time.time()))}
        with Reporter.from_env({**again, **os.environ}) as job:
            database = given.database.resolve()
            report = run(job, given.root.resolve(), database, cancel=job.cancellation)
            job.artifact("names.sqlite", database.as_uri(), bytes=database.stat().st_size)
            job.result(report)
    except Cancelled:
        return errors.CANCELLED
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    return errors.OK


if __name__ == "__main__":
    sys.exit(main())
