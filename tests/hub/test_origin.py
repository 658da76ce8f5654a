"""A page may connect when it is the hub's own or one that the operator names."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from milepost_hub.origin import Origins, read_origin

NONE = Origins([])
SOME = Origins(["https://app.example", "http://localhost:3000"])


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://hub.example", "hub.example"),
        ("http://hub.example:8080", "hub.example:8080"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        # behind a proxy that ends TLS, the hub hears of https from the page alone
        ("https://hub.example", "hub.example"),
        ("https://hub.example", "hub.example:443"),
        ("https://hub.example:8443", "hub.example:8443"),
        ("http://hub.example", "hub.example:80"),
        ("http://HUB.example", "hub.EXAMPLE"),
    ],
)
def test_the_hubs_own_pages_are_always_in(origin: str, host: str) -> None:
    assert NONE.allows(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "hub.example"),
        ("https://hub.example.evil.example", "hub.example"),
        ("https://evilhub.example", "hub.example"),
        ("http://hub.example:8081", "hub.example:8080"),
        ("http://hub.example", "hub.example:443"),
        ("https://hub.example", "hub.example:80"),
        ("http://hub.example", None),
        ("http://hub.example", ""),
        ("http://hub.example", "hub.example/.evil.example"),
        ("http://evil.example", "evil.example@hub.example"),
        ("https://hub.example@evil.example", "hub.example"),
        ("https://hub.example#@evil.example", "hub.example"),
        ("null", "hub.example"),
        ("null", "null"),
        ("", "hub.example"),
        ("hub.example", "hub.example"),
        ("http://", ""),
        ("http://hub.example:99999", "hub.example:99999"),
        ("http://hub.example:0", "hub.example"),
        ("file://", "hub.example"),
        ("https://bücher.example", "bücher.example"),
        ("https://hub.example\n", "hub.example"),
    ],
)
def test_other_pages_are_not(origin: str, host: str | None) -> None:
    assert not NONE.allows(origin, host)
    assert not SOME.allows(origin, host)


def test_a_named_origin_may_connect_whatever_the_hub_is_called() -> None:
    assert SOME.allows("https://app.example", "hub.example")
    assert SOME.allows("https://app.example:443", None)
    assert SOME.allows("http://localhost:3000", "127.0.0.1:8080")
    assert not SOME.allows("http://app.example", "hub.example")
    assert not SOME.allows("https://sub.app.example", "hub.example")
    assert not SOME.allows("http://localhost", "hub.example")


def test_programs_send_no_origin_and_are_in() -> None:
    """What counts for them is the token."""
    assert NONE.allows(None, "hub.example")
    assert NONE.allows(None, None)


def test_a_star_lets_every_page_in() -> None:
    everybody = Origins(["*", "https://app.example"])
    assert everybody.allows("https://anything.example", "hub.example")
    assert everybody.allows("null", None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("HTTPS://App.Example:443/", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://localhost:03000", "http://localhost:3000"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_an_origin_is_read_into_the_one_form_that_browsers_send(written: str, read: str) -> None:
    assert read_origin(written) == read


@pytest.mark.parametrize(
    "bad",
    [
        "app.example", "https://app.example/path", "https://app.example?x", "https://app.example#x", "https://*.example",
        "https://user@app.example", "https://bücher.example", "null", "", "https://", "https://a:b", "https://a:65536",
        " https://app.example", "wss://app.example", "https://a,https://b",
    ],
)  # fmt: skip
def test_a_setting_that_is_no_origin_is_refused_with_advice(bad: str) -> None:
    with pytest.raises(ValueError, match="is not an origin: write it as"):
        Origins([bad])


HOSTS = st.text(max_size=30) | st.sampled_from(
    ["hub.example", "[::1]", "[", "xn--", "a:b", "ß.example", "%00", "\ud800"]
)


@given(
    st.text() | st.builds("{}://{}".format, st.sampled_from(["http", "https", "x"]), HOSTS),
    st.none() | HOSTS | st.text(),
)
@example("http://[", "[")
@example("http://[::1", "[::1")
@example("http://a:" + "9" * 5000, "a")
def test_no_header_makes_it_raise(origin: str, host: str | None) -> None:
    """And what is let in unnamed is the hub's own host, to the letter."""
    if NONE.allows(origin, host):
        assert host is not None
        assert read_origin(f"{origin.partition(':')[0]}://{host}") == read_origin(origin)


@given(st.from_regex(r"https?://[a-z0-9.-]{1,20}(:[0-9]{1,4})?", fullmatch=True))
def test_the_form_is_stable(origin: str) -> None:
    assert read_origin(read_origin(origin)) == read_origin(origin)
