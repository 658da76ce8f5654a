"""A real proxy in front of a hub, with the very files of deploy/proxies: this machine's ports and paths put in."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.docs.block import ROOT
from tests.proxy.certificate import ADDRESS, Certificate
from tests.waiting import eventually

RECIPES = ROOT / "deploy" / "proxies"
NAME = "milepost.example.com"
HUB = "127.0.0.1:8080"


class Proxy(ABC):
    """One proxy, from `with` to its end. What it prints and logs is in its folder, as `*.log`."""

    program: ClassVar[str]
    missing: ClassVar[str]
    below_a_path: ClassVar[dict[str, dict[str, str]]]
    """What is to be changed in which file, to have the hub below /milepost: docs/proxies.md has it for people."""

    def __init__(self, found: str, hub: str, certificate: Certificate, folder: Path, *, prefix: str = "") -> None:
        """`hub`: its host and port."""
        self.certificate = certificate
        self.port, self.plain_port = _free_ports()
        self.host = f"{ADDRESS}:{self.port}"
        self.url = f"https://{self.host}{prefix}"
        self.websocket = f"wss://{self.host}{prefix}/ws"
        self._found = found
        self._hub = hub
        self._folder = folder
        self._prefix = prefix
        self._configure()

    @classmethod
    def find(cls) -> str | None:
        """The program, None when there is none: beside this Python, on PATH, or where Debian has it for root alone."""
        return shutil.which(
            cls.program,
            path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"]),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it listens with its certificate."""
        with (self._folder / "printed.log").open("ab") as printed:
            self._process = subprocess.Popen(
                self._command(), env=self._environment(), stdout=printed, stderr=subprocess.STDOUT
            )
        eventually(self._listens)

    def stop(self) -> None:
        """SIGTERM: whoever is connected is cut off, after a moment."""
        self._process.terminate()
        self._process.wait(timeout=20)

    def restart(self) -> None:
        """Gone and back again, on the same ports."""
        self.stop()
        self.start()

    def logs(self) -> str:
        """All that it has printed and logged."""
        return "\n".join(log.read_text("utf-8") for log in sorted(self._folder.glob("*.log")))

    @abstractmethod
    def reload(self) -> None:
        """Have it read its configuration again, which has changed, in the way that docs/proxies.md tells of."""

    @abstractmethod
    def _configure(self) -> None:
        """Write its configuration."""

    @abstractmethod
    def _command(self) -> list[str]:
        """What starts it, in the foreground."""

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _recipe(self, name: str, changes: dict[str, str]) -> str:
        """A file of deploy/proxies with this machine's values; each of them stands there once."""
        text = (RECIPES / name).read_text("utf-8")
        for given, here in {**(self.below_a_path.get(name, {}) if self._prefix else {}), **changes}.items():
            assert given in text, f"{name}: {given!r}"
            text = text.replace(given, here)
        return text

    def _signal(self, which: signal.Signals) -> None:
        self._process.send_signal(which)

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.logs()
        try:
            with (
                socket.create_connection((ADDRESS, self.port), timeout=1) as connection,
                self.certificate.trusted.wrap_socket(connection, server_hostname=ADDRESS),
            ):
                return True
        except (OSError, ssl.SSLError):
            return False


def _free_ports() -> tuple[int, int]:
    with socket.create_server((ADDRESS, 0)) as one, socket.create_server((ADDRESS, 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
