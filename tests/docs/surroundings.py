"""What a block finds when it is run: a hub on a nats-server, a job of its own, and the checkout's files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from milepost_hub.token import issue

from tests.docs.block import ROOT, Block
from tests.milepost.console import environment

TENANT: Final = "acme"
# what commands in the pages name; they are linked, so that nothing else of the checkout is in reach by accident
_FILES: Final = ("docker-compose.yml", "Dockerfile", "Makefile", "benchmarks", "docker", "examples", "scripts")
_SECONDS: Final = 120


class Surroundings(NamedTuple):
    """The running parts."""

    nats_url: str
    url: str
    secret: str

    def token(self, tenant: str) -> str:
        """A token for every job of a tenant."""
        return issue(self.secret, tenant)

    def environment(self, job: str) -> dict[str, str]:
        """What the pages promise a block to have in its environment."""
        return environment(
            {
                "NATS_URL": self.nats_url,
                "MILEPOST_TENANT": TENANT,
                "MILEPOST_JOB": job,
                "MILEPOST_URL": self.url,
                "MILEPOST_TOKEN": self.token(TENANT),
                "MILEPOST_JWT_SECRET": self.secret,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            }
        )


def run_python(block: Block, folder: Path, env: dict[str, str]) -> None:
    """In a fresh interpreter, every warning an error."""
    script = folder / "block.py"
    script.write_text(block.numbered, "utf-8")
    _run(block, [sys.executable, "-W", "error", str(script)], folder, env)


def run_bash(block: Block, folder: Path, env: dict[str, str]) -> None:
    """Any command that fails fails the block."""
    for name in _FILES:
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    script = folder / "block.sh"
    script.write_text(block.numbered, "utf-8")
    _run(block, ["bash", "-euo", "pipefail", str(script)], folder, env)


def _run(block: Block, command: list[str], folder: Path, env: dict[str, str]) -> None:
    """To its end, and with everything it started ended too."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            printed, _ = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{block.place} does not end within {_SECONDS} s:\n{block.text}") from None
        finally:
            # what it left in the background holds the pipe open
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{block.place} ended with {process.returncode}:\n{block.text}\n{printed}"
