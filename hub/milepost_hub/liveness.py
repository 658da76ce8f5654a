"""Is the client still there, and does it still know that we are: pings, pongs and heartbeats. Sans-I/O."""

from __future__ import annotations

import math
from enum import Enum, auto

from milepost_hub.settings import HubSettings


class Due(Enum):
    """What a client is owed, or has failed at, just now."""

    PING = auto()
    HEARTBEAT = auto()
    DEAD = auto()
    """No pong for too long."""
    STUCK = auto()
    """What was written has not left for too long."""


class Liveness:
    """The clocks of one connection. Times are seconds on one monotonic clock."""

    __slots__ = ("_pinged", "last_pong", "last_sent", "next_ping", "patient", "stuck_since")

    def __init__(self, settings: HubSettings, now: float) -> None:
        self.last_pong = now
        self.last_sent = now
        self.next_ping = now + settings.ping_interval
        # The oldest ping that has no pong yet, if later than the last pong.
        self._pinged = now
        self.stuck_since: float | None = None
        """Since when the transport takes nothing, as told by `pause_writing`; None while it does."""
        self.patient = False
        """The client reads a replay at its own speed: it may be stuck for as long as it may be without a pong."""

    def check(self, settings: HubSettings, now: float) -> list[Due]:
        """What is due now; a failure comes alone. A ping or heartbeat told of counts as sent."""
        if self.stuck_since is not None:
            # Whoever does not read gets neither ping nor heartbeat: they would only pile up.
            return [Due.STUCK] if now >= self._stuck_until(settings, self.stuck_since) else []
        if now >= self._dead_at(settings):
            return [Due.DEAD]
        due = []
        if now >= self.next_ping:
            self.next_ping = now + settings.ping_interval
            if self._pinged <= self.last_pong:
                self._pinged = now
            due.append(Due.PING)
        if now >= self.last_sent + settings.heartbeat_interval:
            self.last_sent = now
            due.append(Due.HEARTBEAT)
        return due

    def unstuck(self, now: float) -> None:
        """What was stuck has left: somebody reads at the other end, and the last ping may only just have got there."""
        self.stuck_since = None
        self.last_pong = now

    def next_check(self, settings: HubSettings) -> float:
        """When there may be something due again."""
        if self.stuck_since is not None:
            return self._stuck_until(settings, self.stuck_since)
        return min(
            self.next_ping,
            self.last_sent + settings.heartbeat_interval,
            self._dead_at(settings),
        )

    def _stuck_until(self, settings: HubSettings, since: float) -> float:
        return since + (settings.pong_timeout if self.patient else settings.write_wait)

    def _dead_at(self, settings: HubSettings) -> float:
        # Only a ping can be left without a pong: who was stuck when one was due has yet to get it.
        if self._pinged <= self.last_pong:
            return math.inf
        return self._pinged + settings.pong_timeout - settings.ping_interval
