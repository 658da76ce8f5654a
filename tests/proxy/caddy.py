"""Caddy with deploy/proxies/Caddyfile, and a certificate of ours, since it cannot get one here."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import ClassVar

from tests.proxy.proxy import HUB, NAME, Proxy


class Caddy(Proxy):
    """Caddy 2."""

    program: ClassVar = "caddy"
    missing: ClassVar = "no caddy: install the Debian package `caddy` (apt-get install caddy)"
    below_a_path: ClassVar = {
        "Caddyfile": {
            "reverse_proxy 127.0.0.1:8080": "handle_path /milepost/* {\n\t\treverse_proxy 127.0.0.1:8080\n\t}"
        }
    }

    def reload(self) -> None:
        """By the command, over its administration's port. It changes nothing by itself, so it is told to do it."""
        subprocess.run(
            [*self._caddy("reload"), "--address", self._administration, "--force"],
            env=self._environment(),
            capture_output=True,
            check=True,
            timeout=30,
        )

    def _configure(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._administration = f"127.0.0.1:{free.getsockname()[1]}"
        text = self._recipe(
            "Caddyfile",
            {
                HUB: self._hub,
                f"{NAME} {{": f"https://{self.host} {{\n\ttls {self.certificate.chain} {self.certificate.key}",
                "{\n\tlog {": f"{{\n\tadmin {self._administration}\n\thttp_port {self.plain_port}\n\tlog {{",
            },
        )
        (self._folder / "Caddyfile").write_text(text, "utf-8")

    def _command(self) -> list[str]:
        return self._caddy("run")

    def _caddy(self, command: str) -> list[str]:
        return [self._found, command, "--config", str(self._folder / "Caddyfile"), "--adapter", "caddyfile"]

    def _environment(self) -> dict[str, str]:
        """It keeps what it knows below the user's home."""
        home = str(self._folder)
        return {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}
