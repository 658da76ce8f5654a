"""A token signed by a trusted key, in time and well formed, becomes a grant; others are refused in words."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import get_args

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.errors import KeyConfigError, TokenCode, TokenError
from milepost_hub.grant import SCOPES, Grant
from milepost_hub.keys import KeySource
from milepost_hub.token import MAX_TIME, MAX_TOKEN_CHARS, Verifier, issue

from tests.hub.signers import OTHER_SECRET, SECRET, Signer, claims, ec_signer, ed_signer, key_set, rsa_signer

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> KeySource:
    """A secret, a PEM file and a key set at once; the long cooldown makes every refusal final."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "rsa.pem").write_bytes(rsa_signer().pem)
    (folder / "set.json").write_bytes(key_set(ec_signer(), ed_signer()))
    return KeySource(
        secrets=[SECRET, OTHER_SECRET],
        public_key_files=[folder / "rsa.pem"],
        jwks_files=[folder / "set.json"],
        file_cooldown=3600,
    )


@pytest.fixture(scope="module")
def verifier(everything: KeySource) -> Verifier:
    return Verifier(everything)


def by_secret(**options: object) -> Verifier:
    return Verifier(KeySource(secrets=[SECRET]), **options)  # type: ignore[arg-type]


def signed(secret: str = SECRET, **changes: object) -> str:
    return jwt.encode(claims(**changes), secret, "HS256")


def by_hand(header: object, payload: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def code(verifier: Verifier, token: str) -> TokenCode:
    """Why the token is refused; and the refusal is a sentence that does not repeat the token."""
    with pytest.raises(TokenError) as refused:
        verifier.verify(token)
    message = refused.value.message
    assert message[0].isupper()
    assert message.endswith(".")
    assert all(len(part) < 8 or part not in message for part in token.split("."))
    assert refused.value.code in get_args(TokenCode)
    return refused.value.code


def test_a_good_token_becomes_a_grant() -> None:
    token = signed(exp=NOW + 60, sub="ada", jobs=[42, "nightly"], scope="watch cancel")
    assert by_secret(clock=lambda: NOW).verify(token) == Grant(
        tenant="acme",
        expires_at=NOW + 60,
        subject="ada",
        jobs=frozenset({"42", "nightly"}),
        scopes=frozenset({"watch", "cancel"}),
    )


def test_without_more_claims_a_token_watches_every_job_of_its_tenant() -> None:
    grant = by_secret().verify(signed())
    assert (grant.subject, grant.jobs, grant.scopes) == (None, None, frozenset({"watch"}))


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_each_of_several_secrets_is_tried(verifier: Verifier, secret: str) -> None:
    assert verifier.verify(signed(secret)).tenant == "acme"


@pytest.mark.parametrize("signer", [rsa_signer(), ec_signer(), ed_signer()], ids=lambda signer: signer.algorithm)
@pytest.mark.parametrize("named", [True, False], ids=["kid", "no kid"])
def test_public_keys_verify_with_and_without_a_kid(verifier: Verifier, signer: Signer, named: bool) -> None:
    assert verifier.verify(signer.token(signer.kid if named else None)).tenant == "acme"


# Signatures and algorithms


def test_a_token_signed_with_another_secret_is_refused(verifier: Verifier) -> None:
    assert code(verifier, signed("x" * 40)) == "bad_signature"


@pytest.mark.parametrize("signer", [rsa_signer("rsa"), ec_signer("ec"), ed_signer("ed")], ids=lambda one: one.algorithm)
def test_a_forged_claim_is_refused(verifier: Verifier, signer: Signer) -> None:
    header, payload, signature = signer.token().split(".")
    forged = by_hand({}, claims(tenant="rival")).split(".")[1]
    assert payload != forged
    assert code(verifier, f"{header}.{forged}.{signature}") == "bad_signature"


def test_a_wrong_key_under_a_known_kid_is_refused(verifier: Verifier) -> None:
    impostor = Signer(ec.generate_private_key(ec.SECP256R1()), "ES256", "ec")
    assert code(verifier, impostor.token()) == "bad_signature"
    assert code(verifier, impostor.token(None)) == "bad_signature"


def test_an_unknown_kid_is_told_from_a_wrong_signature(verifier: Verifier) -> None:
    assert code(verifier, ec_signer().token("of-nobody")) == "unknown_key"


@pytest.mark.parametrize("name", ["none", "None", "NONE", ""])
def test_a_token_that_asks_for_no_signature_is_refused(verifier: Verifier, name: str) -> None:
    assert code(verifier, by_hand({"alg": name, "typ": "JWT"}, claims())) == "bad_algorithm"


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_never_taken_for_a_secret(verifier: Verifier, name: str) -> None:
    """Algorithm confusion: HMAC over the public key's text, which everybody has, must not verify."""
    hmac = jwt.get_algorithm_by_name(name)
    for text in (rsa_signer().pem, rsa_signer().pem.strip(), key_set(ec_signer(), ed_signer())):
        for kid in ({}, {"kid": "rsa"}, {"kid": "ec"}):
            unsigned = by_hand({"alg": name} | kid, claims()).rstrip(".")
            signature = base64.urlsafe_b64encode(hmac.sign(unsigned.encode(), text)).rstrip(b"=").decode()
            expected = "bad_signature" if name == "HS256" else "bad_algorithm"
            assert code(verifier, f"{unsigned}.{signature}") == expected


def test_a_kind_of_key_that_is_not_configured_is_not_an_unknown_key(tmp_path: Path) -> None:
    (tmp_path / "ec.pem").write_bytes(ec_signer().pem)
    by_public_key = Verifier(KeySource(public_key_files=[tmp_path / "ec.pem"]))
    assert code(by_secret(), rsa_signer().token()) == "bad_algorithm"
    assert code(by_public_key, signed()) == "bad_algorithm"


def test_a_longer_hash_with_the_right_secret_is_refused() -> None:
    long = "x" * 64
    token = jwt.encode(claims(), long, "HS512")
    assert code(Verifier(KeySource(secrets=[long])), token) == "bad_algorithm"


def test_a_key_inside_the_token_is_not_believed(verifier: Verifier) -> None:
    impostor = Signer(ec.generate_private_key(ec.SECP256R1()), "ES256", "mine")
    headers = {"kid": "mine", "jwk": impostor.jwk, "jku": "http://127.0.0.1:9/keys.json"}
    token = jwt.encode(claims(), impostor.private, "ES256", headers=headers)
    assert code(verifier, token) == "unknown_key"


# Times


def test_an_expired_token_is_refused_from_the_very_second() -> None:
    token = signed(exp=NOW)
    assert by_secret(clock=lambda: NOW - 0.001).verify(token).expires_at == NOW
    assert code(by_secret(clock=lambda: NOW), token) == "token_expired"


def test_a_token_from_the_future_is_refused_until_then() -> None:
    token = signed(exp=NOW + 60, nbf=NOW)
    assert code(by_secret(clock=lambda: NOW - 0.001), token) == "token_not_yet_valid"
    assert by_secret(clock=lambda: NOW).verify(token)


def test_leeway_moves_both_ends_and_the_grant_with_them() -> None:
    token = signed(exp=NOW + 60, nbf=NOW)
    for moment in (NOW - 5, NOW + 64.9):
        assert by_secret(leeway=5, clock=lambda moment=moment: moment).verify(token).expires_at == NOW + 65
    assert code(by_secret(leeway=5, clock=lambda: NOW - 5.1), token) == "token_not_yet_valid"
    assert code(by_secret(leeway=5, clock=lambda: NOW + 65), token) == "token_expired"


def test_when_it_was_issued_does_not_matter() -> None:
    """An issuer whose clock is ahead is no reason to refuse (RFC 7519, section 4.1.6)."""
    assert by_secret().verify(signed(iat=time.time() + 3600))
    assert by_secret().verify(signed(iat="yesterday"))


NO_TIME = [None, True, False, "1700000000", -1, MAX_TIME + 1, 10**400, 1e300, [NOW], {"at": NOW}]


@pytest.mark.parametrize("value", NO_TIME, ids=str)
def test_exp_is_required_and_is_a_time(value: object) -> None:
    assert code(by_secret(), signed(exp=value)) == "bad_claim"


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_numbers_that_json_has_not_are_no_token(value: float) -> None:
    assert code(by_secret(), signed(exp=value)) == "token_malformed"


@pytest.mark.parametrize("value", [True, "0", -1, MAX_TIME + 1, [], {}], ids=str)
def test_nbf_is_a_time_where_it_is_there(value: object) -> None:
    assert code(by_secret(), signed(nbf=value)) == "bad_claim"


# Issuer and audience


@pytest.mark.parametrize("value", [None, "https://rival.example", "", ["https://id.example"], {}, 0], ids=str)
def test_another_issuer_or_none_is_refused_where_one_is_configured(value: object) -> None:
    verifier = by_secret(issuer="https://id.example")
    assert verifier.verify(raw({"iss": "https://id.example"}))
    assert code(verifier, raw({"iss": value} if value is not None else {})) == "bad_issuer"


@pytest.mark.parametrize("value", [None, "rival", "", ["rival"], [], [["milepost"]], {"milepost": 1}, 0], ids=str)
def test_another_audience_or_none_is_refused_where_one_is_configured(value: object) -> None:
    verifier = by_secret(audience="milepost")
    assert verifier.verify(raw({"aud": "milepost"}))
    assert verifier.verify(raw({"aud": ["rival", "milepost"]}))
    assert code(verifier, raw({"aud": value} if value is not None else {})) == "bad_audience"


@pytest.mark.parametrize("name", ["aud", "iss"])
def test_where_none_is_configured_anybody_s_will_do(name: str) -> None:
    assert by_secret().verify(raw({name: "of-another-service"}))


def raw(changes: object) -> str:
    """A token with claims as they are, past what PyJWT refuses to encode."""
    body = claims() | changes if isinstance(changes, dict) else changes
    return jwt.PyJWS().encode(json.dumps(body).encode(), SECRET, "HS256")


# Claims of ours


@pytest.mark.parametrize(
    "value", [None, "", "a.b", "*", ">", "a b", "ä", "x" * 65, "acme\n", 42, True, ["acme"], {}], ids=str
)
def test_tenant_is_required_and_is_one_subject_token(value: object) -> None:
    assert code(by_secret(), signed(tenant=value)) == "bad_claim"


@pytest.mark.parametrize("value", ["*", "42", 42, {"42": 1}, True], ids=str)
def test_jobs_is_a_list(value: object) -> None:
    assert code(by_secret(), signed(jobs=value)) == "bad_claim"


def test_jobs_null_is_not_every_job() -> None:
    assert code(by_secret(), raw({"jobs": None})) == "bad_claim"


@pytest.mark.parametrize(
    "value", ["*", ">", "a.b", "", "x" * 65, "1\n", -1, 2**53, 1.5, 42.0, True, None, [1], {}], ids=str
)
def test_a_job_is_a_name_or_a_number_that_every_client_can_hold(value: object) -> None:
    assert code(by_secret(), signed(jobs=[1, value])) == "bad_claim"


def test_jobs_are_compared_as_they_are_in_subjects() -> None:
    grant = by_secret().verify(signed(jobs=[7, "8", "007", 2**53 - 1]))
    assert grant.jobs == frozenset({"7", "8", "007", "9007199254740991"})


def test_an_empty_job_list_allows_no_job() -> None:
    assert by_secret().verify(signed(jobs=[])).jobs == frozenset()


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("watch", "watch"),
        ("submit cancel", "submit cancel"),
        (["watch", "submit"], "watch submit"),
        ("openid profile", ""),
        ("watcher Watch", ""),
        ("", ""),
        ([], ""),
    ],
    ids=str,
)
def test_scope_is_words_or_a_list_and_strange_words_allow_nothing(value: object, allowed: str) -> None:
    assert by_secret().verify(signed(scope=value)).scopes == set(allowed.split())


@pytest.mark.parametrize("value", [1, True, {"watch": 1}, ["watch", 1], [["watch"]]], ids=str)
def test_scope_of_another_shape_is_refused(value: object) -> None:
    assert code(by_secret(), signed(scope=value)) == "bad_claim"


@pytest.mark.parametrize("value", [1, True, ["ada"], {}, "\ud800"], ids=ascii)
def test_sub_is_text_where_it_is_there(value: object) -> None:
    assert code(by_secret(), raw({"sub": value})) == "bad_claim"


# What is no token at all


def test_no_token_is_told_from_a_bad_one(verifier: Verifier) -> None:
    assert code(verifier, "") == "token_missing"


@pytest.mark.parametrize(
    "token",
    [
        "hello",
        "..",
        "a.b.c",
        "a.b.c.d.e",
        "ä.ö.ü",
        "\ud800",
        "\0",
        by_hand("HS256", {}),
        by_hand({}, {}),
        by_hand({"alg": ["HS256"]}, {}),
        by_hand({"alg": None}, {}),
        by_hand({"alg": "HS256", "kid": 7}, {}),
        by_hand({"alg": "HS256", "crit": ["exp"], "exp": 1}, {}),
        by_hand({"alg": "HS256", "b64": False, "crit": ["b64"]}, {}),
    ],
    ids=lambda token: ascii(token)[:40],
)
def test_what_is_no_jwt_is_malformed(verifier: Verifier, token: str) -> None:
    assert code(verifier, token) == "token_malformed"


@pytest.mark.parametrize(
    "payload", [b"", b"hello", b"[]", b'"acme"', b"\xff", b"[" * 5_000, b'{"exp":' + b"9" * 5_000 + b"}"]
)
def test_a_signed_payload_that_is_no_object_is_malformed(payload: bytes) -> None:
    assert code(by_secret(), jwt.PyJWS().encode(payload, SECRET, "HS256")) == "token_malformed"


def test_a_token_that_is_too_long_is_not_read() -> None:
    """Even a good one: a stranger decides how long the text is that the hub has to hash."""
    assert by_secret().verify(signed(note="x" * 8_000))
    assert code(by_secret(), signed(note="x" * MAX_TOKEN_CHARS)) == "token_malformed"


TEXT = st.text("abAB019_-. *>:/=ä\n\ud800", max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["tenant", "exp", "nbf", "iat", "iss", "aud", "sub", "jobs", "scope", "jti"])


@given(changes=st.dictionaries(NAMES, JSON, max_size=5))
def test_whatever_is_signed_is_a_grant_within_bounds_or_a_token_error(changes: dict[str, object]) -> None:
    try:
        grant = by_secret(issuer="me", audience="you").verify(raw({"iss": "me", "aud": "you"} | changes))
    except TokenError:
        return
    assert grant.expires_at > time.time()
    assert grant.scopes <= SCOPES
    for name in {grant.tenant, *(grant.jobs or ())}:
        assert 1 <= len(name) <= 64
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@given(
    header=JSON
    | st.fixed_dictionaries(
        {"alg": JSON | st.sampled_from(["HS256", "RS256", "ES256", "EdDSA"])},
        optional={"kid": JSON, "crit": JSON, "b64": JSON, "typ": JSON},
    ),
    payload=JSON,
    signature=st.binary(max_size=70),
)
def test_whatever_header_and_signature_a_stranger_writes_is_a_token_error(
    verifier: Verifier, header: object, payload: object, signature: bytes
) -> None:
    with pytest.raises(TokenError):
        verifier.verify(by_hand(header, payload, signature))


@given(token=st.text(max_size=60) | st.text("eyJ019._-=", max_size=60))
def test_whatever_text_arrives_is_a_token_error(verifier: Verifier, token: str) -> None:
    with pytest.raises(TokenError):
        verifier.verify(token)


@given(data=st.data())
def test_one_changed_character_spoils_a_token(verifier: Verifier, data: st.DataObject) -> None:
    token = ed_signer().token(exp=NOW * 2)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda character: character != token[at]))
    with pytest.raises(TokenError):
        verifier.verify(token[:at] + other + token[at + 1 :])


# Issuing


def test_an_issued_token_verifies_as_what_was_asked_for() -> None:
    before = time.time()
    token = issue(
        SECRET,
        "acme",
        jobs=[42, "x"],
        scopes=["watch", "submit"],
        subject="ada",
        ttl=60,
        issuer="me",
        audience="you",
    )
    grant = by_secret(issuer="me", audience="you").verify(token)
    assert (grant.tenant, grant.subject) == ("acme", "ada")
    assert grant.jobs == frozenset({"42", "x"})
    assert grant.scopes == {"watch", "submit"}
    assert before + 60 <= grant.expires_at <= time.time() + 61


def test_by_default_a_token_watches_all_jobs_for_an_hour() -> None:
    grant = by_secret().verify(issue(SECRET, "acme"))
    assert grant.jobs is None
    assert grant.scopes == {"watch"}
    assert grant.expires_at - time.time() == pytest.approx(3600, abs=60)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tenant": "a.b"}, "tenant"),
        ({"jobs": ["*"]}, "jobs"),
        ({"scopes": ["admin"]}, "no such scope: admin"),
        ({"ttl": 0}, "lives longer"),
        ({"ttl": -5}, "lives longer"),
        ({"ttl": MAX_TIME}, "exp"),
        ({"ttl": float("nan")}, "lives longer"),
        ({"ttl": float("inf")}, "lives longer"),
        ({"secret": "short"}, "needs 32"),
    ],
    ids=str,
)
def test_a_token_that_no_hub_would_take_is_not_made(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        issue(**({"secret": SECRET, "tenant": "acme"} | options))  # type: ignore[arg-type]


def test_a_short_secret_is_refused_when_the_hub_is_configured() -> None:
    with pytest.raises(KeyConfigError, match="openssl rand"):
        KeySource(secrets=["secret"])
