"""Whichever of the hub's addresses is given, the one that is needed is found."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.errors import UsageError
from milepost.hub_url import dashboard_url, http_url, websocket_url


@pytest.mark.parametrize(
    "given_url",
    ["http://host:8080", "http://host:8080/", "ws://host:8080/ws", "http://host:8080/ws/", "host:8080"],
)
def test_every_spelling_means_the_same_hub(given_url: str) -> None:
    assert http_url(given_url) == "http://host:8080"
    assert websocket_url(given_url) == "ws://host:8080/ws"


def test_encryption_and_a_path_in_front_are_kept() -> None:
    assert websocket_url("https://example.org/progress") == "wss://example.org/progress/ws"
    assert http_url("wss://example.org/progress/ws") == "https://example.org/progress"


def test_a_link_to_the_dashboard_has_the_token_where_browsers_keep_it() -> None:
    assert dashboard_url("ws://host:8080/ws", "a.b-c_d") == "http://host:8080/#token=a.b-c_d"
    assert dashboard_url("https://example.org/progress", "t", "42") == "https://example.org/progress/#token=t&job=42"


def test_a_token_in_the_address_goes_nowhere() -> None:
    assert websocket_url("ws://host/ws?token=secret") == "ws://host/ws"


@pytest.mark.parametrize("wrong", ["", "http://", "ftp://host", "http://host:99999", "http://[::1"])
def test_what_is_no_address_is_told(wrong: str) -> None:
    with pytest.raises(UsageError, match="MILEPOST_URL"):
        websocket_url(wrong)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_told(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert websocket_url(text).startswith(("ws://", "wss://"))
