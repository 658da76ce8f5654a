"""A real nginx in front of a hub, with the configuration that docs/operations.md gives."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.docs.block import ROOT, blocks
from tests.waiting import eventually

MISSING: Final = "no nginx: install the Debian package `nginx-light` (apt-get install nginx-light)"

_AROUND: Final = """{user}
daemon off;
worker_processes 1;
worker_shutdown_timeout 100ms;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""
"""What Debian's nginx.conf is around a file of conf.d; a reload cuts off whoever is connected, after a moment."""


def find() -> str | None:
    """The program, None when there is none; Debian has it where only root looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


def site(hub: str, port: int, log: Path) -> str:
    """The page's block for this hub (host and port), on this port, with its log there."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (block,) = [block for block in blocks("docs/operations.md", page) if block.language == "nginx"]
    text = block.text
    for given, here in (
        ("127.0.0.1:8080", hub),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/var/log/nginx/milepost.log", str(log)),
    ):
        assert text.count(given) == 1, f"{block.place}: {given!r}"
        text = text.replace(given, here)
    return text


class Nginx:
    """One nginx, from `with` to its end."""

    def __init__(self, program: str, hub_url: str, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "access.log"
        self.errors = folder / "error.log"
        self._pid = folder / "nginx.pid"
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _AROUND.format(
                # a worker of another user could not write into a folder of root's
                user="user root;" if os.geteuid() == 0 else "",
                folder=folder,
                site=site(hub_url.removeprefix("http://"), self.port, self.log),
            ),
            "utf-8",
        )
        self._command = [program, "-p", str(folder), "-e", str(self.errors), "-c", str(configuration)]
        self.reloads = 0

    def __enter__(self) -> Nginx:
        self._process = subprocess.Popen(self._command)
        eventually(self._listens)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)

    def reload(self) -> None:
        """Read the configuration again: a new worker takes new connections, the old one ends those it has."""
        self._process.send_signal(signal.SIGHUP)
        self.reloads += 1

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.errors.read_text("utf-8")
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0
