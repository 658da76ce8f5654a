"""A Redis server and Celery workers as processes of their own, for one test file."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from benchmarks.ports import free_port
from tests.reporter.celery_tasks import FOLDER, REDIS, app
from tests.waiting import eventually

MISSING = "redis-server is not installed (Debian's package redis-server)"

_PATIENCE = 15


def redis_server() -> str | None:
    return shutil.which("redis-server")


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of a server that has begun to answer."""
    program = redis_server()
    assert program is not None
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        with Redis(port=port) as client:
            eventually(lambda: _answers(client))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _answers(client: "Redis") -> bool:
    with contextlib.suppress(RedisError):
        return bool(client.ping())
    return False


@contextmanager
def worker(
    redis_url: str, folder: Path, environ: Mapping[str, str], *options: str, module: str = "tests.reporter.celery_tasks"
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that is ready, with a log in the folder."""
    log = folder / f"worker-{len(list(folder.glob('worker-*')))}.log"
    command = [sys.executable, "-m", "celery", "--app", module, "worker", "--loglevel", "INFO"]
    name = f"{log.stem}@localhost"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--hostname", name, *options],
            env={**os.environ, REDIS: redis_url, FOLDER: str(folder), **environ},
            stdout=out,
            stderr=out,
        )
    try:
        eventually(lambda: b"ready." in log.read_bytes() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connect(redis_url: str) -> None:
    """Have this process's app use that server, from now on."""
    app.conf.update(broker_url=redis_url, result_backend=redis_url)
    app._pool = None
    app.__dict__.pop("amqp", None)
    app._local.__dict__.pop("backend", None)
