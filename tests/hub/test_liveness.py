"""Who answers no ping is dead, who takes nothing is stuck, and whoever hears nothing gets a heartbeat."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.liveness import Due, Liveness
from milepost_hub.settings import HubSettings

SETTINGS = HubSettings()  # ping 54, dead 60, write wait 10, heartbeat 15
QUIET = HubSettings(heartbeat_interval=1e6)


def test_a_new_connection_owes_nothing() -> None:
    assert Liveness(SETTINGS, 0).check(SETTINGS, 14.9) == []


def test_a_heartbeat_follows_silence_and_counts_as_said() -> None:
    live = Liveness(SETTINGS, 0)
    assert live.check(SETTINGS, 15) == [Due.HEARTBEAT]
    assert live.check(SETTINGS, 29.9) == []
    assert live.check(SETTINGS, 30) == [Due.HEARTBEAT]


def test_any_message_puts_the_heartbeat_off() -> None:
    live = Liveness(SETTINGS, 0)
    live.last_sent = 10
    assert live.check(SETTINGS, 24.9) == []
    assert live.check(SETTINGS, 25) == [Due.HEARTBEAT]


def test_pings_come_at_their_interval_however_busy_the_client() -> None:
    live = Liveness(QUIET, 0)
    assert live.check(QUIET, 53.9) == []
    assert live.check(QUIET, 54) == [Due.PING]
    live.last_pong = 54.1
    assert live.check(QUIET, 107.9) == []
    assert live.check(QUIET, 108) == [Due.PING]


def test_without_a_pong_the_client_is_dead_at_sixty_seconds() -> None:
    live = Liveness(QUIET, 0)
    live.check(QUIET, 54)
    assert live.check(QUIET, 59.9) == []
    assert live.check(QUIET, 60) == [Due.DEAD]


def test_a_pong_keeps_it_alive() -> None:
    live = Liveness(QUIET, 0)
    live.check(QUIET, 54)
    live.last_pong = 59.9
    assert live.check(QUIET, 60) == []
    assert live.check(QUIET, 1e5) == [Due.PING]


def test_pings_more_frequent_than_patience_count_from_the_first_unanswered() -> None:
    often = HubSettings(ping_interval=5, pong_timeout=20, heartbeat_interval=1e6)
    live = Liveness(often, 0)
    for ping in (5, 10, 15):
        assert live.check(often, ping) == [Due.PING]
    assert live.check(often, 19.9) == []
    assert live.check(often, 20) == [Due.DEAD]


def test_a_failure_comes_alone() -> None:
    """The dead get no heartbeat, though one is due as well."""
    live = Liveness(SETTINGS, 0)
    live.check(SETTINGS, 54)
    assert live.check(SETTINGS, 1000) == [Due.DEAD]


def test_what_does_not_leave_within_the_write_wait_is_stuck() -> None:
    live = Liveness(SETTINGS, 0)
    live.stuck_since = 5
    assert live.next_check(SETTINGS) == 15
    assert live.check(SETTINGS, 14.9) == []
    assert live.check(SETTINGS, 15) == [Due.STUCK]


def test_who_does_not_read_gets_neither_ping_nor_heartbeat() -> None:
    """They would only pile up behind what waits already."""
    live = Liveness(SETTINGS, 0)
    live.stuck_since = 50
    assert live.check(SETTINGS, 59.9) == []


def test_who_was_stuck_when_a_ping_was_due_is_pinged_before_it_is_given_up() -> None:
    """Nobody is dead for leaving a ping unanswered that was never sent."""
    live = Liveness(QUIET, 0)
    live.stuck_since = 53
    assert live.check(QUIET, 62) == []
    live.stuck_since = None
    assert live.check(QUIET, 62.5) == [Due.PING]
    assert live.check(QUIET, 68.4) == []
    assert live.check(QUIET, 68.5) == [Due.DEAD]


@given(
    st.lists(st.tuples(st.sampled_from(["pong", "sent", "stuck", "free"]), st.floats(0, 40)), max_size=40),
    st.sampled_from(
        [SETTINGS, QUIET, HubSettings(ping_interval=1, pong_timeout=2, heartbeat_interval=0.5, write_wait=1)]
    ),
)
def test_nothing_is_due_before_the_time_it_names(events: list[tuple[str, float]], settings: HubSettings) -> None:
    """Who wakes at `next_check` misses nothing: just before it, there is nothing; at it, there is something."""
    now = 0.0
    live = Liveness(settings, now)
    for event, step in events:
        now += step
        match event:
            case "pong":
                live.last_pong = now
            case "sent":
                live.last_sent = now
            case "stuck":
                live.stuck_since = live.stuck_since or now
            case _:
                live.stuck_since = None
        due_at = live.next_check(settings)
        assert due_at < math.inf
        if now < due_at:
            assert live.check(settings, now) == []
            assert live.next_check(settings) == due_at
        if (due := live.check(settings, max(now, due_at))) and not {Due.DEAD, Due.STUCK}.isdisjoint(due):
            assert len(due) == 1
            return
        assert due
        now = max(now, due_at)


def test_whoever_was_stuck_when_the_ping_came_has_time_to_answer_it() -> None:
    """A slow client that reads at last is not declared dead for a pong that it could not yet have sent."""
    live = Liveness(QUIET, 0)
    assert live.check(QUIET, 54) == [Due.PING]
    live.stuck_since = 54.1
    live.unstuck(63)
    assert live.check(QUIET, 64) == []
    assert live.check(QUIET, 108) == [Due.PING]
    assert live.check(QUIET, 114) == [Due.DEAD]


def test_one_that_reads_a_replay_may_be_stuck_for_as_long_as_without_a_pong() -> None:
    live = Liveness(QUIET, 0)
    live.patient = True
    live.stuck_since = 5
    assert live.next_check(QUIET) == 65
    assert live.check(QUIET, 64.9) == []
    assert live.check(QUIET, 65) == [Due.STUCK]
