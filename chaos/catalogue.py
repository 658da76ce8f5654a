"""All scenarios, in the order in which they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from chaos.scenarios import clients, crashes, ends, joins, lives, workers
from chaos.stage import Stage

Scenario = Callable[[Stage], Awaitable[None]]

_ALL: Final[tuple[Scenario, ...]] = (
    crashes.nats_killed,
    crashes.nats_hangs,
    crashes.hub_killed,
    crashes.other_hub,
    crashes.cluster_rolls,
    lives.stream_deleted,
    lives.tail_lost,
    lives.tail_lost_live,
    lives.without_jetstream,
    clients.cut_connections,
    clients.retention_overtakes,
    clients.slow_consumers,
    clients.reconnect_storm,
    joins.job_born,
    joins.live_attach,
    joins.late_joiners,
    ends.reporter_killed,
    ends.watchdogs_race,
    ends.died_unwatched,
    ends.two_ends,
    ends.wrong_clocks,
    workers.workers_killed,
    workers.workers_frozen,
    workers.workers_without_nats,
)

SCENARIOS: Final[dict[str, Scenario]] = {scenario.__name__.replace("_", "-"): scenario for scenario in _ALL}


def told(scenario: Scenario) -> str:
    """What a scenario does, in a line."""
    return (scenario.__doc__ or "").strip().splitlines()[0]
