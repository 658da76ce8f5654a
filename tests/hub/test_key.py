"""Keys are read from what people have, and what cannot be used safely is refused in words."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.errors import KeyConfigError
from milepost_hub.key import MAX_SET_KEYS, Key, from_jwks, from_key_set, from_pem, secret_bytes

from tests.hub.signers import SECRET, Signer, ec_signer, ed_signer, key_set, rsa_signer

SIGNERS = [rsa_signer(), ec_signer(), ed_signer()]
by_algorithm = pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.algorithm)


@by_algorithm
def test_a_pem_file_s_key_verifies_the_algorithm_of_its_kind_only(signer: Signer) -> None:
    (key,) = from_pem(signer.pem)
    assert (key.algorithm, key.kid) == (signer.algorithm, None)


@by_algorithm
def test_a_key_set_s_key_keeps_its_kid_and_needs_no_alg(signer: Signer) -> None:
    (key,) = from_jwks(key_set(signer))
    assert (key.algorithm, key.kid) == (signer.algorithm, signer.kid)


def test_a_pem_file_may_hold_the_old_key_and_the_new_one() -> None:
    keys = from_pem(b"# of last year\n" + rsa_signer().pem + b"\n" + ec_signer().pem)
    assert [key.algorithm for key in keys] == ["RS256", "ES256"]


def test_the_older_pem_form_of_rsa_is_read_too() -> None:
    pem = rsa_signer().private.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    assert [key.algorithm for key in from_pem(pem)] == ["RS256"]


def test_a_private_key_file_is_refused() -> None:
    with pytest.raises(KeyConfigError, match="private key"):
        from_pem(ed_signer().private_pem)


@pytest.mark.parametrize(
    "text",
    [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"],
)
def test_a_file_without_a_public_key_is_refused(text: bytes) -> None:
    with pytest.raises(KeyConfigError, match="BEGIN PUBLIC KEY"):
        from_pem(text)


def test_a_damaged_pem_key_is_refused() -> None:
    with pytest.raises(KeyConfigError, match="cannot be read"):
        from_pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")


def test_a_short_rsa_key_is_refused() -> None:
    with pytest.raises(KeyConfigError, match="1024 bits"):
        from_pem(rsa_signer("short", 1024).pem)


def test_another_curve_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(KeyConfigError, match="P-256"):
        from_pem(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_a_secret_of_31_bytes_is_refused_and_one_of_32_is_not() -> None:
    with pytest.raises(KeyConfigError, match="31 bytes; HS256 needs 32"):
        secret_bytes("x" * 31)
    assert secret_bytes("x" * 32) == b"x" * 32
    assert len(secret_bytes("ä" * 16)) == 32


def test_a_public_key_given_as_a_secret_is_refused() -> None:
    """Else whoever has the public key, and that is everybody, could sign tokens."""
    with pytest.raises(KeyConfigError, match="text of a key"):
        secret_bytes(rsa_signer().pem.decode())


def test_a_key_does_not_show_its_secret() -> None:
    assert SECRET not in repr(Key(SECRET.encode(), "HS256"))


OCT = jwt.algorithms.HMACAlgorithm.to_jwk(SECRET, as_dict=True)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (OCT, "kty"),
        (OCT | {"alg": "RS256"}, "kty"),
        ({"kty": "oct"}, "kty"),
        (rsa_signer().jwk | {"alg": "HS256"}, "alg"),
        (rsa_signer().jwk | {"alg": "none"}, "alg"),
        (rsa_signer().jwk | {"alg": ["RS256"]}, "alg"),
        (rsa_signer().jwk | {"alg": "ES256"}, "cannot be read"),
        (rsa_signer().jwk | {"use": "enc"}, "not for signatures"),
        (rsa_signer().jwk | {"key_ops": ["encrypt"]}, "not for signatures"),
        (rsa_signer().jwk | {"key_ops": "verify"}, "not for signatures"),
        (rsa_signer().jwk | {"kid": 7}, "kid"),
        (rsa_signer().jwk | {"n": 7}, "cannot be read"),
        (rsa_signer("short", 1024).jwk, "1024 bits"),
        (rsa_signer().private_jwk, "not a public"),
        (ec_signer().private_jwk, "not a public"),
        (ed_signer().private_jwk, "not a public"),
        ("a key", "not a JSON object"),
    ],
)
def test_what_must_not_verify_tokens_is_left_out_of_a_key_set(member: object, reason: str) -> None:
    with pytest.raises(KeyConfigError, match=reason):
        from_key_set({"keys": [member]})
    assert [key.kid for key in from_key_set({"keys": [member, ed_signer().jwk]})] == ["ed"]


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(KeyConfigError):
        from_jwks(text)


def test_only_so_many_keys_are_taken_from_one_set() -> None:
    assert len(from_key_set({"keys": [ec_signer().jwk] * (MAX_SET_KEYS + 1)})) == MAX_SET_KEYS


TEXT = st.text("abAB01_-. =ä\ud800", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["kty", "crv", "alg", "use", "kid", "key_ops", "n", "e", "x", "y", "d", "p", "q", "oth"])


@given(
    base=st.sampled_from([signer.jwk for signer in SIGNERS] + [rsa_signer().private_jwk, {}]),
    changes=st.dictionaries(
        FIELDS, JSON | st.sampled_from(["RSA", "EC", "OKP", "Ed448", "P-521", "AQAB", "AA"]), max_size=4
    ),
)
def test_no_json_web_key_makes_another_exception(base: dict[str, Any], changes: dict[str, Any]) -> None:
    """Whatever a key set's publisher writes, it is a key that can be used or a KeyConfigError."""
    try:
        (key,) = from_key_set({"keys": [base | changes]})
    except KeyConfigError:
        return
    assert key.algorithm in ("RS256", "ES256", "EdDSA")
    assert not isinstance(key.material, bytes | rsa.RSAPrivateKey)


@given(JSON)
def test_no_json_document_makes_another_exception(document: object) -> None:
    with pytest.raises(KeyConfigError):
        from_jwks(json.dumps(document).encode())
