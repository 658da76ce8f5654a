"""nginx with deploy/proxies/nginx.conf, inside what Debian's own configuration has around it."""

from __future__ import annotations

import os
import signal
from typing import ClassVar, Final

from tests.proxy.proxy import HUB, NAME, Proxy

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
"""A reload cuts off whoever is connected, after a moment."""


class Nginx(Proxy):
    """nginx, of any version that knows `listen … http2`."""

    program: ClassVar = "nginx"
    missing: ClassVar = "no nginx: install the Debian package `nginx-light` (apt-get install nginx-light)"
    below_a_path: ClassVar = {
        "nginx.conf": {
            "location / {": "location /milepost/ {",
            "proxy_pass http://milepost;": "proxy_pass http://milepost/;",
        }
    }

    def reload(self) -> None:
        """A new worker takes new connections, the old one ends those it has."""
        self._signal(signal.SIGHUP)

    def _configure(self) -> None:
        site = self._recipe(
            "nginx.conf",
            {
                HUB: self._hub,
                f"server_name {NAME};": "server_name 127.0.0.1;",
                "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
                "listen 443 ": f"listen {self.host} ",
                "/etc/ssl": str(self.certificate.chain.parent),
                "/var/log/nginx": str(self._folder),
            },
        )
        # a worker of another user could not write into a folder of root's
        user = "user root;" if os.geteuid() == 0 else ""
        (self._folder / "nginx.conf").write_text(_AROUND.format(user=user, folder=self._folder, site=site), "utf-8")

    def _command(self) -> list[str]:
        folder = str(self._folder)
        return [self._found, "-p", folder, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
