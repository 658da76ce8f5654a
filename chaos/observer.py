"""Reading the stream by other means than the project's own: a raw pull consumer over a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from chaos.ledger import Entry
from chaos.waiting import WaitedInVainError, until, until_async

LOG: Final = "MILEPOST_LOG"
STATE: Final = "MILEPOST_STATE"

_BATCH: Final = 1_000
_TRIES: Final = 20


class StreamError(Exception):
    """JetStream has refused something; the message is its own."""


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """A connection that comes back by itself, and complains to nobody."""
    client = await nats.connect(
        url.split(","),
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        connect_timeout=2,
        error_cb=_ignore,
        pending_size=-1,
    )
    try:
        yield client
    finally:
        await client.close()


async def _ignore(error: Exception) -> None:
    """Servers are killed here all the time."""


async def ask(client: Client, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to JetStream's API, again while nobody answers; StreamError when it refuses."""
    last: Exception | None = None
    for _ in range(_TRIES):
        try:
            message = await client.request(f"$JS.API.{subject}", json.dumps(body or {}).encode(), timeout=2)
        except (NatsError, OSError) as error:
            last = error
            await asyncio.sleep(0.1)
            continue
        answer: dict[str, Any] = json.loads(message.data)
        if "error" not in answer:
            return answer
        if answer["error"]["code"] != 503:  # no leader at the moment
            raise StreamError(f"{subject}: {answer['error']['description']}")
        await asyncio.sleep(0.1)
    raise StreamError(f"{subject}: no answer ({last!r})")


async def read_log(url: str, tenant: str, job: str) -> list[Entry]:
    """Everything that is stored of a job, in order; as many messages as the stream's leader counts."""
    subject = f"tenant.{tenant}.job.{job}.>"
    async with connected(url) as client:

        async def read() -> list[Entry] | None:
            info = await ask(client, f"STREAM.INFO.{LOG}", {"subjects_filter": subject})
            count = sum((info["state"].get("subjects") or {}).values())
            try:
                entries = await _consume(client, subject, count) if count else []
            except WaitedInVainError:
                # in a cluster a consumer may be made before whoever leads it hears what it is asked
                return None
            # a replica that has the consumer may be behind the leader for a moment
            return entries if len(entries) == count else None

        # an empty log is an answer too
        found: list[list[Entry]] = []

        async def complete() -> bool:
            entries = await read()
            if entries is not None:
                found.append(entries)
            return bool(found)

        await until_async(complete, f"reading the log of {job}")
        return found[-1]


async def _consume(client: Client, subject: str, count: int) -> list[Entry]:
    name = f"chaos-{secrets.token_hex(4)}"
    config: dict[str, Any] = {"name": name, "ack_policy": "none", "deliver_policy": "all", "filter_subject": subject}
    config |= {"mem_storage": True, "num_replicas": 1, "inactive_threshold": 30 * 10**9}
    await ask(client, f"CONSUMER.CREATE.{LOG}.{name}.{subject}", {"stream_name": LOG, "config": config})
    entries: list[Entry] = []
    inbox = client.new_inbox()

    async def take(message: Msg) -> None:
        # status messages of the pull itself have no acknowledgement subject
        if message.reply.startswith("$JS.ACK."):
            entries.append(entry_of(message.subject, message.reply, message.data, message.headers))

    subscription = await client.subscribe(inbox, cb=take, pending_msgs_limit=0, pending_bytes_limit=0)
    try:
        while len(entries) < count:
            before = len(entries)
            body = {"batch": _BATCH, "expires": 2 * 10**9}
            await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{LOG}.{name}", json.dumps(body).encode(), inbox)
            wanted = min(before + _BATCH, count)
            await until(lambda goal=wanted: len(entries) >= goal, "a batch of the log", 5)  # type: ignore[misc]
    finally:
        await subscription.unsubscribe()
        with contextlib.suppress(StreamError):
            await ask(client, f"CONSUMER.DELETE.{LOG}.{name}")
    return entries


def entry_of(subject: str, reply: str, payload: bytes, headers: dict[str, str] | None) -> Entry:
    """A consumer's message. Its reply is `$JS.ACK.….<stream seq>.<consumer seq>.<time>.<pending>`."""
    parts = reply.split(".")
    return Entry(int(parts[-4]), int(parts[-2]), payload, run_of(subject), source_of(headers))


def run_of(subject: str) -> int | None:
    """The run of an `.end.<run>` subject."""
    leaf, _, tail = subject.partition(".end.")
    return int(tail) if leaf and tail else None


def source_of(headers: dict[str, str] | None) -> tuple[str, int] | None:
    """Which reporter's how many-th event it is."""
    if not headers or "Milepost-Reporter" not in headers or "Milepost-Count" not in headers:
        return None
    return headers["Milepost-Reporter"], int(headers["Milepost-Count"])


async def delete_streams(url: str) -> None:
    """Delete log and records, as an operator would."""
    async with connected(url) as client:
        for stream in (LOG, STATE):
            await ask(client, f"STREAM.DELETE.{stream}")


async def stream_ready(url: str, replicas: int = 1) -> bool:
    """Whether the log exists and all its replicas are current."""
    async with connected(url) as client:
        try:
            info = await ask(client, f"STREAM.INFO.{LOG}")
        except StreamError:
            return False
    others = (info.get("cluster") or {}).get("replicas") or []
    return len(others) == replicas - 1 and all(other["current"] for other in others)


async def leader_of(url: str) -> str | None:
    """The name of the server that leads the log's replicas."""
    async with connected(url) as client:
        info = await ask(client, f"STREAM.INFO.{LOG}")
    leader: str | None = (info.get("cluster") or {}).get("leader")
    return leader
