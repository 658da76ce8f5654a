"""The job log's streams: there, as they should be, and readable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from milepost.doctor.finding import Finding, ok, warn

if TYPE_CHECKING:
    from milepost_reporter.jetstream.api import Api

_DAY: Final = 86_400


async def examine_log(api: Api) -> list[Finding]:
    """Both streams.

    Raises:
        StreamUnfit: one cannot serve as it is.
        JetStreamError: they cannot be looked at.
    """
    from milepost_bridge.settings import BridgeSettings
    from milepost_bridge.streams import LOG, STATE, ensure
    from milepost_reporter.jetstream.stream import find_stream

    log, state = await find_stream(api, LOG), await find_stream(api, STATE)
    if log is None or state is None:
        missing = " and ".join(name for name, info in ((LOG, log), (STATE, state)) if info is None)
        advice = "`milepost serve` makes both streams; if it runs, its log says why it could not"
        return [warn("job log", f"there is no stream {missing}", advice)]
    # how long and how much is kept is the operator's choice, and the log's is what the records are held against
    compared = await ensure(api, BridgeSettings().model_copy(update=_chosen(log["config"])))
    await api.direct_get(LOG, seq=log["state"]["first_seq"], next_by_subj=">", batch=1)
    findings = [ok("job log", f"{_stored(log)}; {_retention(log['config'])}")]
    if compared.differences:
        advice = "`milepost serve --bridge-log-update`, once, makes the streams as they should be"
        findings.append(warn("log settings", "; ".join(compared.differences), advice))
    return findings


def _stored(info: dict[str, Any]) -> str:
    return f"holds {info['state']['messages']:,} events in {info['state']['bytes']:,} bytes"


def _retention(config: dict[str, Any]) -> str:
    from milepost_reporter.jetstream.stream import NANOSECONDS

    age, most = config["max_age"] / NANOSECONDS / _DAY, config["max_bytes"]
    bound = f" in {most:,} bytes" if most > 0 else ""
    each = config["max_msgs_per_subject"]
    return (
        f"keeps {f'{each:,}' if each > 0 else 'all'} of a job{bound}, {f'for {age:.3g} days' if age else 'for ever'}, "
        f"{config['num_replicas']} on disk"
    )


def _chosen(config: dict[str, Any]) -> dict[str, Any]:
    """A stream's retention as the bridge's settings say it, as far as they could."""
    from milepost_reporter.jetstream.stream import NANOSECONDS

    chosen = {
        "log_max_bytes": max(config["max_bytes"], 0),
        "log_replicas": config["num_replicas"],
        "log_max_age": config["max_age"] / NANOSECONDS,
        "log_events_per_job": config["max_msgs_per_subject"],
    }
    return {name: value for name, value in chosen.items() if value > 0 or name == "log_max_bytes"}
