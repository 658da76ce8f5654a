"""`milepost token` prints a token that the hub's own verifier believes."""

from __future__ import annotations

import time

import jwt
import pytest
from milepost_hub.keys import KeySource
from milepost_hub.token import Verifier

from tests.milepost.console import milepost

SECRET = "a secret of the tests, long enough for HS256"
ENV = {"MILEPOST_JWT_SECRET": SECRET}


def test_only_the_token_is_printed_and_the_hub_believes_it() -> None:
    ended = milepost("token", "--tenant", "acme", env=ENV)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    grant = Verifier(KeySource(secrets=[SECRET])).verify(ended.stdout.strip())
    assert grant.tenant == "acme"
    assert grant.jobs is None
    assert grant.scopes == {"watch"}
    assert ended.stdout.count("\n") == 1


def test_everything_that_can_be_said_is_in_it() -> None:
    ended = milepost(
        *("token", "--tenant", "acme", "--job", "42", "--job", "nightly", "--scope", "watch"),
        *("--scope", "cancel", "--ttl", "2h", "--subject", "ann", "--jwt-issuer", "me"),
        *("--jwt-audience", "hub"),
        env=ENV,
    )
    claims = jwt.decode(ended.stdout.strip(), SECRET, ["HS256"], audience="hub", issuer="me")
    assert claims["jobs"] == [42, "nightly"]
    assert set(claims["scope"].split()) == {"watch", "cancel"}
    assert claims["sub"] == "ann"
    assert 7100 < claims["exp"] - time.time() <= 7201


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        ([], ""),
        (["--job", "nightly"], "&job=nightly"),
        (["--job", "1", "--job", "2"], ""),
    ],
)
def test_a_link_opens_the_dashboard_with_the_token(arguments: list[str], end: str) -> None:
    """At a job's page when the token is for one job."""
    given = ("token", "--tenant", "acme", "--link", "--url", "http://hub:8081", *arguments)
    link = milepost(*given, env=ENV).stdout.removesuffix("\n")
    assert link.startswith("http://hub:8081/#token=")
    assert link.endswith(end)
    token = link.removeprefix("http://hub:8081/#token=").removesuffix(end)
    assert Verifier(KeySource(secrets=[SECRET])).verify(token).tenant == "acme"


@pytest.mark.parametrize(
    ("arguments", "env", "told"),
    [
        (["--tenant", "acme"], {}, "MILEPOST_JWT_SECRET to the one that the hub has"),
        (["--tenant", "acme"], {"MILEPOST_JWT_SECRET": "short"}, "HS256 needs"),
        (["--tenant", "a.b"], ENV, "tenant"),
        (["--tenant", "acme", "--ttl", "soon"], ENV, "no duration"),
        (["--tenant", "acme", "--ttl", "0"], ENV, "longer than 0"),
        (["--tenant", "acme", "--scope", "own"], ENV, "no such scope"),
        (["--tenant", "acme", "--job", "*"], ENV, "jobs"),
        ([], ENV, "--tenant"),
    ],
)
def test_what_no_hub_would_accept_is_told(arguments: list[str], env: dict[str, str], told: str) -> None:
    ended = milepost("token", *arguments, env=env)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
