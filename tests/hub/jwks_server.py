"""A real HTTP server that publishes a key set, counts who asks, and can be slow, broken or away."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class JwksServer:
    """Serves `body` on a free port of the loopback interface; `down` and `up` keep the port."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.asked = threading.Event()
        self.gate = threading.Event()
        """While it is clear nobody is answered."""
        self.gate.set()
        self.drip = False
        """While the gate is clear, send spaces instead of nothing."""
        self._port = 0
        self.up()
        self.url = f"http://127.0.0.1:{self._port}/keys.json"

    def up(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.owner = self
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def down(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> JwksServer:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.down()


class _Server(ThreadingHTTPServer):
    owner: JwksServer
    daemon_threads = False


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.requests += 1
        owner.asked.set()
        with contextlib.suppress(ConnectionError):  # the hub gave up waiting
            self._answer(owner)

    def _answer(self, owner: JwksServer) -> None:
        self.send_response(owner.status)
        for name, value in owner.headers.items():
            self.send_header(name, value)
        self.end_headers()
        while not owner.gate.wait(0.02):
            if owner.drip:
                self.wfile.write(b" ")
        self.wfile.write(owner.body)

    def log_message(self, *_: object) -> None:
        """The tests' output is theirs."""
