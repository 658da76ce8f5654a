"""`Hub`: a hub and the server that carries it to its clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self, cast

import uvicorn
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.server import ServerState

from milepost_hub.app import make_app
from milepost_hub.bare_hub import BareHub
from milepost_hub.connection import Connection
from milepost_hub.grant import Grant
from milepost_hub.http_protocol import HttpProtocol
from milepost_hub.origin import Origins
from milepost_hub.pages import Pages
from milepost_hub.settings import HubSettings
from milepost_hub.signer import Signer
from milepost_hub.token import Verifier

logger = logging.getLogger("milepost.hub")

_BACKLOG = 4096


class _Server(uvicorn.Server):
    """uvicorn, leaving the signals to the program it runs in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class Hub(BareHub):
    """Fans events out to WebSocket clients; serves health, metrics and the contract on the same port.

    Usable as an async context manager in any asyncio program: entered, it listens; left, it tells its clients to come
    back, over `settings.drain_seconds`, and is gone. Give it events by `attach`ing an `Upstream`.
    """

    ws_path = "/ws"

    def __init__(
        self,
        settings: HubSettings,
        verifier: Verifier,
        listener: socket.socket | None = None,
        pages: Path | None = None,
        signer: Signer | None = None,
    ) -> None:
        """Make a hub that will listen on `settings.host` and `port`, or on a socket that is bound already.

        pages: the folder that is served at `/`; without one the hub has no pages. signer: makes the tokens that
        answer submitted jobs; without one those who submit get none.

        Raises:
            ValueError: there is no such folder.
        """
        super().__init__(settings)
        self.pages = None if pages is None else Pages(pages)
        self.verifier = verifier
        self.signer = signer
        self.origins = Origins(settings.allow_origins)
        # By uvicorn's own rule, which decides the same for HTTP.
        self.proxies = _TrustedHosts(settings.trusted_proxies)
        self.host, self.port = settings.host, settings.port
        self._listener = listener

    # -- life -------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the address is taken, or not this machine's.
        """
        loop = asyncio.get_running_loop()
        listener = self._listener or self._bind()
        self.host, self.port = listener.getsockname()[:2]
        await super().__aenter__()
        self._server = _Server(self._uvicorn_config())
        self._serving = loop.create_task(self._server.serve(sockets=[listener]))
        listening = loop.create_task(self._server.listening.wait())
        await asyncio.wait({listening, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._serving.done():
            self._ticking.cancel()
            await self._serving
        logger.info("the hub listens on %s", self.url)
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop accepting, tell every client to come back, wait until they have gone."""
        self._fanout.flush()
        self._server.should_exit = True
        try:
            await self._serving
        finally:
            await self._cut_off()
            await super().__aexit__(*raised)

    async def _cut_off(self) -> None:
        """End what uvicorn has given up waiting for, and would leave open: an HTTP client that does not read."""
        left = self._server.server_state
        for connection in list(left.connections):
            connection.transport.abort()
        await asyncio.gather(*left.tasks, return_exceptions=True)
        # The event loop tells protocols of their loss on its next turn.
        await asyncio.sleep(0)

    @property
    def url(self) -> str:
        """Where this machine reaches the hub, as `http://127.0.0.1:8080`."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def _bind(self) -> socket.socket:
        address = (self.settings.host, self.settings.port)
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        return socket.create_server(address, family=family, backlog=_BACKLOG)

    def _uvicorn_config(self) -> uvicorn.Config:
        settings = self.settings
        return uvicorn.Config(
            make_app(self),
            http=HttpProtocol,
            ws=self._make_connection,  # type: ignore[arg-type]  # uvicorn only calls it
            lifespan="off",
            log_config=None,
            access_log=settings.access_log,
            proxy_headers=True,
            forwarded_allow_ips=settings.trusted_proxies,
            server_header=False,
            backlog=_BACKLOG,
            # A bound, not a wait: connections that close in good order end it sooner.
            timeout_graceful_shutdown=int(settings.drain_seconds + settings.write_wait) + 1,
        )

    def _make_connection(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, object]
    ) -> Connection:
        return Connection(self, cast("set[object]", server_state.connections))

    # -- what the app calls -----------------------------------------------------------------------------------------

    def job_token(self, submitter: Grant, job: str) -> str | None:
        """What answers a submitted job: a token for it alone, where the hub signs any."""
        if self.signer is None:
            return None
        return self.signer.job_token(submitter, job, self.verifier, self.settings.job_token_seconds)
