"""One short connection to NATS, for a command that must know at once whether it works."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from milepost.errors import CommandError
from milepost.nats_access import NatsAccess

if TYPE_CHECKING:
    from nats.aio.client import Client

_CONNECT_SECONDS: Final = 3
_CONFIRM_SECONDS: Final = 5


class NatsSession:
    """A connection that neither retries nor hides what the server complained of."""

    def __init__(self, access: NatsAccess) -> None:
        self._access = access
        self._complaints: list[str] = []
        self.client: Client
        """nats-py's own, for everything else."""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[NatsSession]:
        """Connect, and close at the end. CommandError when that cannot be done."""
        import nats
        from nats.aio.client import Client

        from milepost.tls_client import TlsClient

        self.client = TlsClient() if self._access.encrypted else Client()
        try:
            await self.client.connect(
                servers=self._access.servers,
                name="milepost command line",
                error_cb=self._complain,
                connect_timeout=_CONNECT_SECONDS,
                # 0 would try for ever, and the default for two minutes
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                allow_reconnect=False,
                **self._access.credentials(),
            )
        except (OSError, ValueError, nats.errors.Error, TimeoutError) as error:
            raise CommandError(self._why_not(error)) from error
        try:
            yield self
        finally:
            await self.client.close()

    @property
    def version(self) -> str:
        """The server's version, as `2.15.1`."""
        return str(self.client._server_info["version"])

    async def confirm(self) -> None:
        """Return when the server has taken everything sent so far. CommandError when it refused any."""
        import nats

        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                # nats-py's ping overtakes what it still has queued, and so would the answer
                while self.client.pending_data_size:  # noqa: ASYNC110 - it tells nobody when it is done
                    await asyncio.sleep(0.001)
                await self.client.flush(timeout=_CONFIRM_SECONDS)
        except (nats.errors.Error, TimeoutError) as error:
            raise CommandError(
                f"NATS at {self._access.shown} has not confirmed within {_CONFIRM_SECONDS} s: {_words(error)}"
            ) from error
        if self._complaints:
            raise CommandError(f"NATS refused it: {self._complaints[-1]}; check the user's permissions")

    async def _complain(self, error: Exception) -> None:
        self._complaints.append(_words(error))

    def _why_not(self, error: BaseException) -> str:
        said = " ".join([*self._complaints, _words(error)]).lower()
        nats = f"NATS at {self._access.shown}"
        why = self._complaints[-1] if self._complaints else _words(error)
        if "authorization violation" in said or "authentication" in said:
            variables = "NATS_USER and NATS_PASSWORD, NATS_TOKEN or NATS_CREDS"
            return f"{nats} refused the credentials: check {variables}"
        if "tls" in said or "certificate" in said:
            return f"{nats} cannot be trusted ({why}): check NATS_CA, and the server's certificate"
        return f"{nats} cannot be reached ({why}): is it running, and is NATS_URL (--nats) right?"


def _words(error: BaseException) -> str:
    text = str(error).removeprefix("nats: ").strip("'")
    return text or type(error).__name__
