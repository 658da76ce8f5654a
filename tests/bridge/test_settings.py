"""What the bridge is told about NATS, and what it refuses to be told."""

from __future__ import annotations

from pathlib import Path

import pytest
from milepost_bridge.settings import BridgeSettings
from milepost_reporter.jetstream.access import servers
from pydantic import ValidationError


def test_defaults_stand_alone() -> None:
    """Nothing needs to be set; no credentials and no TLS are sent then."""
    options = BridgeSettings().connect_options()
    assert options["name"] == "milepost-bridge"
    assert (options["user"], options["password"], options["token"], options["user_credentials"]) == (None,) * 4
    assert "tls" not in options


def test_secrets_stay_out_of_the_repr() -> None:
    """A settings object may be logged."""
    settings = BridgeSettings(user="hub", password="hunter2")  # type: ignore[arg-type] # pydantic takes text
    assert "hunter2" not in repr(settings)
    assert settings.connect_options()["password"] == "hunter2"


@pytest.mark.parametrize(
    "given",
    [
        {"user": "hub"},
        {"password": "secret"},
        {"cert": __file__},
        {"ca": "/no/such/file"},
        {"ca": __file__},
        {"ping_interval": 0},
        {"max_jobs": 0},
        {"log_max_bytes": -1},
        {"log_events_per_job": 0},
        {"log_replicas": 6},
        {"lease_min": 2, "lease_max": 1},
        {"no_such_setting": 1},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(given: dict[str, object]) -> None:
    """Halves of a pair, missing or unreadable files, figures out of range and unknown names are errors."""
    with pytest.raises(ValidationError):
        BridgeSettings.model_validate(given)


def test_several_servers_are_separated_by_commas() -> None:
    """Spaces and a trailing comma do no harm."""
    assert servers("nats://a:4222, tls://b,") == ["nats://a:4222", "tls://b"]


@pytest.mark.parametrize(
    "url", ["", ",", "localhost", "http://a:4222", "nats://", "nats://a:0", "nats://a:99999", "nats://[::1"]
)
def test_what_is_no_server_is_refused(url: str) -> None:
    """Better at once than in the log for ever."""
    with pytest.raises(ValueError, match="nats://host:4222"):
        servers(url)


def test_a_refused_url_does_not_tell_its_password() -> None:
    """An error is often logged."""
    with pytest.raises(ValueError, match="must look like") as refused:
        servers("http://hub:hunter2@host")
    assert "hunter2" not in str(refused.value)


def test_credentials_file_must_exist(tmp_path: Path) -> None:
    """A path that names nothing is told at the start."""
    with pytest.raises(ValidationError, match="creds"):
        BridgeSettings(creds=tmp_path / "absent.creds")
