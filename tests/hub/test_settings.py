"""Every figure of the hub has its default, and what cannot be is refused by name."""

from __future__ import annotations

import math

import pytest
from milepost_hub.settings import HubSettings
from pydantic import ValidationError

DEFAULTS = {
    "host": "127.0.0.1",
    "port": 8080,
    "allow_origins": (),
    "trusted_proxies": "127.0.0.1",
    "access_log": False,
    "ping_interval": 54,
    "pong_timeout": 60,
    "write_wait": 10,
    "heartbeat_interval": 15,
    "auth_wait": 10,
    "token_notice": 60,
    "max_message_bytes": 4096,
    "queue_messages": 256,
    "queue_bytes": 1024 * 1024,
    "unsent_bytes": 16 * 1024,
    "max_connections": 20_000,
    "max_connections_per_tenant": 10_000,
    "max_subscriptions": 100,
    "max_messages_per_second": 20,
    "max_bad_messages": 10,
    "submit_max_bytes": 68 * 1024,
    "body_wait": 10,
    "job_token_seconds": 3600,
    "ring_events": 1000,
    "ring_bytes": 256 * 1024,
    "rings_bytes": 64 * 1024 * 1024,
}
"""Those that are promised; how flushes are paced is tuned by measurement."""
TUNED = {"flush_factor", "flush_rest", "flush_pause", "drain_seconds"}
TIMES = [
    "ping_interval", "pong_timeout", "write_wait", "heartbeat_interval", "auth_wait", "token_notice", "flush_factor",
    "flush_rest", "flush_pause", "drain_seconds", "max_messages_per_second",
    "body_wait", "job_token_seconds",
]  # fmt: skip


def refused(**given: object) -> str:
    """The name of the field that is complained about, and the complaint."""
    with pytest.raises(ValidationError) as error:
        HubSettings.model_validate(given)
    (first,) = error.value.errors()
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def test_defaults_are_as_promised() -> None:
    given = HubSettings().model_dump()
    assert {name: given[name] for name in DEFAULTS} == DEFAULTS
    assert set(given) == set(DEFAULTS) | TUNED


def test_every_setting_is_described() -> None:
    """The descriptions are the docs' table and the command line's help."""
    assert [name for name, field in HubSettings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("port", -1), ("port", 65_536), ("port", "http"),
        ("ping_interval", 0), ("pong_timeout", -1), ("write_wait", 0), ("heartbeat_interval", 0), ("auth_wait", 0),
        ("token_notice", -1), ("max_message_bytes", 127), ("queue_messages", 0), ("queue_bytes", 4095),
        ("unsent_bytes", -1), ("max_connections", 0), ("max_connections_per_tenant", 0), ("max_subscriptions", 0),
        ("max_messages_per_second", 0), ("max_bad_messages", 0), ("flush_factor", -1), ("flush_pause", -1),
        ("flush_rest", -1), ("submit_max_bytes", 127), ("body_wait", 0), ("job_token_seconds", 0),
        ("job_token_seconds", 366 * 86_400),
        ("flush_pause", 1.1), ("drain_seconds", -1), ("allow_origins", ["app.example"]),
        ("allow_origins", ["https://app.example/path"]),
        *((name, value) for name in TIMES for value in (math.inf, -math.inf, math.nan)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name: str, bad: object) -> None:
    assert refused(**{name: bad}).startswith(f"{name}: ")


def test_a_misspelt_setting_is_refused_by_name() -> None:
    assert refused(ping_intervall=5) == "ping_intervall: Extra inputs are not permitted"


@pytest.mark.parametrize("ping", [60, 61])
def test_pings_must_come_before_patience_ends(ping: float) -> None:
    """Otherwise every client that is merely silent would be cut off."""
    assert "ping_interval must be shorter than pong_timeout" in refused(ping_interval=ping)


def test_origins_become_what_browsers_send() -> None:
    """The HTTP side compares them letter by letter."""
    assert HubSettings(allow_origins=("HTTPS://App.Example:443/", "*")).allow_origins == ("https://app.example", "*")


def test_settings_do_not_change() -> None:
    settings = HubSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1
