"""The runner's queue and store: there, as they should be, and with workers where jobs wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from milepost.doctor.finding import Finding, ok, warn

if TYPE_CHECKING:
    from milepost_reporter.jetstream.api import Api

_SHOWN: Final = 5


async def examine_queue(api: Api) -> list[Finding]:
    """The queue, the store and the catalog, and whether anybody takes what waits.

    Raises:
        StreamUnfit: one cannot serve as it is.
        JetStreamError: they cannot be looked at.
    """
    from milepost_reporter.jetstream.stream import find_stream
    from milepost_runner.settings import RunnerSettings
    from milepost_runner.streams import ensure
    from milepost_runner.subject import HANDLERS, JOBS, WORK, bucket_stream

    names = (WORK, bucket_stream(JOBS), bucket_stream(HANDLERS))
    found = {name: await find_stream(api, name) for name in names}
    work, store = found[WORK], found[bucket_stream(JOBS)]
    missing = [name for name, info in found.items() if info is None]
    if len(missing) == len(names):
        return [ok("job queue", "is not used: `milepost serve` and `milepost worker` would make its streams")]
    if missing or work is None or store is None:
        advice = "`milepost serve` and `milepost worker` make them; if one runs, its log says why it could not"
        return [warn("job queue", f"there is no stream {' and '.join(missing)}", advice)]
    chosen = _chosen(work["config"], store["config"])
    differences = await ensure(api, RunnerSettings().model_copy(update=chosen))
    findings = [ok("job queue", f"{work['state']['messages']:,} jobs wait or run; {_kept(store)}")]
    if differences:
        advice = "`milepost serve --runner-update`, once, makes the streams as they should be"
        findings.append(warn("queue settings", "; ".join(differences), advice))
    return findings + await _left_waiting(api)


def _kept(store: dict[str, Any]) -> str:
    state = store["state"]
    return f"{state['messages']:,} are remembered in {state['bytes']:,} bytes"


def _chosen(work: dict[str, Any], store: dict[str, Any]) -> dict[str, Any]:
    """How much is kept, as the runner's settings say it: it is the operator's choice."""
    from milepost_reporter.jetstream.stream import NANOSECONDS

    return {
        "queue_max_bytes": max(work["max_bytes"], 0),
        "store_max_bytes": max(store["max_bytes"], 0),
        "store_max_age": store["max_age"] / NANOSECONDS,
        "replicas": work["num_replicas"],
    }


async def _left_waiting(api: Api) -> list[Finding]:
    """The queues in which jobs wait, none runs, and nobody asks for one."""
    from milepost_runner.queues import queue_states

    left = [
        f"{state.waiting:,} of tenant {state.name.tenant} in queue {state.name.queue}"
        async for state in queue_states(api)
        if state.waiting and not state.running and not state.asking
    ]
    if not left:
        return []
    more = f" and more in {len(left) - _SHOWN:,} others" if len(left) > _SHOWN else ""
    advice = "start a `milepost worker` that has their handlers; one that runs says in its log why it takes none"
    return [warn("job workers", f"jobs wait and nobody takes them: {', '.join(left[:_SHOWN])}{more}", advice)]
