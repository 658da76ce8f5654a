"""The token that answers a submitted job: what it allows, for how long, in whose name."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import jwt
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.errors import KeyConfigError
from milepost_hub.grant import Grant
from milepost_hub.keys import KeySource
from milepost_hub.signer import Signer
from milepost_hub.token import Verifier

from tests.hub.signers import SECRET

SIGNER = Signer(SECRET)


@pytest_asyncio.fixture
async def keys() -> AsyncIterator[KeySource]:
    async with KeySource(secrets=[SECRET]) as source:
        yield source


def submitter(lives: float = 7200, subject: str | None = "anna", scopes: tuple[str, ...] = ("submit",)) -> Grant:
    return Grant("acme", time.time() + lives, subject, None, frozenset(scopes))


async def test_it_is_good_for_that_job_alone(keys: KeySource) -> None:
    """By the verifier's own word: in the submitter's tenant and name, to watch, with or without `watch` of theirs."""
    verifier = Verifier(keys)
    grant = verifier.verify(SIGNER.job_token(submitter(), "7", verifier, 60))
    assert (grant.tenant, grant.subject, grant.jobs, grant.scopes) == (
        *("acme", "anna", frozenset({"7"})),
        frozenset({"watch"}),
    )
    assert verifier.verify(SIGNER.job_token(submitter(subject=None), "7", verifier, 60)).subject is None


@pytest.mark.parametrize(
    ("scopes", "given_on"),
    [
        (("submit", "cancel"), {"watch", "cancel"}),
        (("submit", "watch"), {"watch"}),
        (("submit", "watch", "cancel"), {"watch", "cancel"}),
    ],
)
async def test_it_cancels_if_the_submitter_may(keys: KeySource, scopes: tuple[str, ...], given_on: set[str]) -> None:
    """And never submits."""
    verifier = Verifier(keys)
    assert verifier.verify(SIGNER.job_token(submitter(scopes=scopes), "7", verifier, 60)).scopes == given_on


async def test_issuer_and_audience_are_those_that_the_verifier_asks_for(keys: KeySource) -> None:
    """Without a demand there is no claim."""
    verifier = Verifier(keys, issuer="https://issuer.example", audience="milepost")
    token = SIGNER.job_token(submitter(), "7", verifier, 60)
    assert verifier.verify(token).tenant == "acme"
    assert jwt.decode(token, SECRET, ["HS256"], audience="milepost")["iss"] == "https://issuer.example"
    bare = jwt.decode(SIGNER.job_token(submitter(), "7", Verifier(keys), 60), SECRET, ["HS256"])
    assert not {"iss", "aud", "nbf"} & set(bare)


@given(
    lives=st.floats(1, 1e6),
    ttl=st.floats(1, 1e6),
    leeway=st.floats(0, 300),
)
def test_it_never_outlives_the_submitters_own(lives: float, ttl: float, leeway: float) -> None:
    """Good for as long as was asked for, to the second, unless theirs ends before."""
    verifier = Verifier(KeySource(secrets=[SECRET]), leeway=leeway)
    before = time.time()
    theirs = before + lives
    grant = Grant("acme", theirs + leeway, None, None, frozenset({"submit"}))
    token = SIGNER.job_token(grant, "7", verifier, ttl)
    told = jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False})["exp"]
    assert told <= theirs + 1e-6
    assert min(before + ttl, theirs - 1.001) <= told <= time.time() + ttl + 1


async def test_within_the_leeway_of_the_submitters_it_has_what_is_left_of_that(keys: KeySource) -> None:
    verifier = Verifier(keys, leeway=60)
    theirs = submitter(lives=30)  # their token expired 30 s ago, and is forgiven for 30 s more
    grant = verifier.verify(SIGNER.job_token(theirs, "7", verifier, 3600))
    assert theirs.expires_at - 2 <= grant.expires_at <= theirs.expires_at


@pytest.mark.parametrize("secret", ["", "short", "x" * 31])
def test_a_secret_that_is_none_is_refused_at_start(secret: str) -> None:
    with pytest.raises(KeyConfigError, match="32"):
        Signer(secret)
