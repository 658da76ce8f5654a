"""Which handlers there are: told by workers, looked up by whoever submits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Annotated, Any, Final

from milepost_reporter.jetstream.api import Api
from milepost_reporter.jetstream.errors import Refused, Unavailable
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from milepost_runner import subject
from milepost_runner.errors import BadPayload, UnknownHandler
from milepost_runner.handler import Handler, check_name
from milepost_runner.schema import harmless, reasons
from milepost_runner.subject import HANDLERS, bucket_stream

_STREAM: Final = bucket_stream(HANDLERS)
_TRUSTED: Final = 10.0
"""Seconds that an answer is good for."""

_Name = Annotated[str, AfterValidator(lambda name: check_name("it", name))]


class Entry(BaseModel):
    """What a worker tells of a handler."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    name: _Name
    queue: _Name
    payload: dict[str, Any]
    """The payload's JSON Schema; `{}` takes anything."""

    @classmethod
    def of(cls, handler: Handler) -> Entry:
        """What there is to tell of a handler."""
        return cls(name=handler.name, queue=handler.queue, payload=handler.schema)

    async def check(self, payload: Any) -> None:  # noqa: ANN401 - JSON
        """BadPayload, with the reasons, when a payload does not fit the schema."""
        # In a thread, because both are somebody else's, and can be made to take long.
        told = await asyncio.to_thread(reasons, self.payload, payload) if self.payload else []
        if told:
            where = ".".join(map(str, told[0]["loc"]))
            first = f"{where}: {told[0]['msg']}" if where else told[0]["msg"]
            raise BadPayload(f"the payload of {self.name} does not fit: {first}", told)


class Catalog:
    """The handlers that workers have told of within a day."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.unreadable = 0
        """Entries that were none."""
        self._known: dict[tuple[str, str], tuple[float, Entry]] = {}

    async def tell(self, handlers: Iterable[Handler], tenant: str | None) -> None:
        """Tell of handlers: which work for all tenants, or for one. Unavailable: the catalog does not take it now."""
        for handler in handlers:
            entry = Entry.of(handler).model_dump_json().encode()
            try:
                await self._api.publish(subject.handler(handler.name, tenant), entry)
            except Refused as refused:
                raise Unavailable(f"the catalog does not take {handler.name}: {refused}") from refused

    async def find(self, tenant: str, name: str) -> Entry:
        """The handler that a tenant's job of this name would come to: its own before everybody's.

        Raises:
            UnknownHandler: with the names that there are.
            Unavailable: the catalog cannot be read just now.
        """
        known = self._known.get((tenant, name))
        if known is not None and time.monotonic() < known[0] + _TRUSTED:
            return known[1]
        for whose in (tenant, None):
            stored = await self._api.last(_STREAM, subject.handler(name, whose))
            entry = self._read(stored.payload) if stored is not None else None
            if entry is not None:
                if whose is not None:
                    entry = entry.model_copy(update={"payload": harmless(entry.payload)})
                self._known[tenant, name] = (time.monotonic(), entry)
                return entry
        names = await self._names(tenant)
        there_are = f"there are {', '.join(names)}" if names else "there are none at all"
        raise UnknownHandler(f"no worker has told of a job named {name} within a day; {there_are}")

    async def _names(self, tenant: str) -> list[str]:
        found: set[str] = set()
        for whose in (tenant, None):
            async for batch in self._api.scan(_STREAM, subject.handler("*", whose)):
                found.update(stored.subject.rpartition(".")[2] for stored in batch)
        return sorted(found)

    def _read(self, stored: bytes) -> Entry | None:
        """What was told; None when it makes no sense, as a tenant's own may."""
        try:
            return Entry.model_validate_json(stored)
        except ValidationError:
            self.unreadable += 1
            return None
