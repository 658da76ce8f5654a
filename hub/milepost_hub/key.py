"""One verification key, and how it is read from a secret, a PEM file or a JSON Web Key Set.

A key knows the one algorithm it verifies, so a token's header chooses among keys, never how a key is used
(RFC 8725, sections 2.1 and 3.1): a secret serves HS256 only, a public key never does, `none` serves nobody.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import InvalidKeyError, PyJWK, PyJWTError, get_algorithm_by_name

from milepost_hub.errors import KeyConfigError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

SECRET_ALGORITHM = "HS256"  # noqa: S105 - a name, not a secret
PUBLIC_ALGORITHMS = ("RS256", "ES256", "EdDSA")
MIN_SECRET_BYTES = 32
"""RFC 7518, section 3.2: the key of HS256 MUST be at least as long as its hash."""
MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""
MAX_SET_KEYS = 64
"""Keys taken from one key set: a token without a `kid` is tried against each of them."""

_PEM_BLOCK = re.compile(rb"-----BEGIN ((?:RSA )?PUBLIC KEY)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Key:
    """A key and its one algorithm. Without a `kid` it is tried for every token of that algorithm."""

    material: bytes | PublicKey = field(repr=False)
    algorithm: str
    kid: str | None = None

    def serves(self, algorithm: str, kid: str | None) -> bool:
        """Whether a token with this header might have been signed with this key's other half."""
        return self.algorithm == algorithm and (kid is None or self.kid is None or self.kid == kid)


def secret_bytes(secret: str) -> bytes:
    """A shared secret fit for HS256; KeyConfigError when it is too short, or no secret at all."""
    material = secret.encode("utf-8", "surrogateescape")
    if len(material) < MIN_SECRET_BYTES:
        raise KeyConfigError(
            f"the secret has {len(material)} bytes; HS256 needs {MIN_SECRET_BYTES} or more "
            "(RFC 7518, section 3.2). Make one with: openssl rand -hex 32"
        )
    try:
        get_algorithm_by_name(SECRET_ALGORITHM).prepare_key(material)
    except InvalidKeyError as error:
        raise KeyConfigError("the secret is the text of a key: give that as a file instead") from error
    return material


def from_pem(text: bytes) -> tuple[Key, ...]:
    """Every public key in a PEM file; KeyConfigError when there is none or one of them cannot be used."""
    if b"PRIVATE KEY-----" in text:
        raise KeyConfigError("it holds a private key; make the public one with: openssl pkey -pubout")
    blocks = [match.group(0) for match in _PEM_BLOCK.finditer(text)]
    if not blocks:
        raise KeyConfigError("it has no 'BEGIN PUBLIC KEY' (of a certificate: openssl x509 -pubkey -noout)")
    return tuple(Key(*_usable(_load_pem(block))) for block in blocks)


def from_jwks(text: bytes) -> tuple[Key, ...]:
    """The usable keys of a JSON Web Key Set as text; KeyConfigError when there is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeyConfigError("it is not JSON") from error
    return from_key_set(document)


def from_key_set(document: object) -> tuple[Key, ...]:
    """The usable keys of a parsed JSON Web Key Set (RFC 7517, section 5); KeyConfigError when there is none.

    Keys for other purposes or of other kinds are left out, as the RFC asks.
    """
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise KeyConfigError('it is not a JSON Web Key Set: there is no list "keys"')
    keys: list[Key] = []
    reason = "it is empty"
    for member in members[:MAX_SET_KEYS]:
        try:
            keys.append(_from_jwk(member))
        except KeyConfigError as error:
            reason = str(error)
    if not keys:
        raise KeyConfigError(f"it has no key that can be used: {reason}")
    return tuple(keys)


def _from_jwk(member: object) -> Key:
    if not isinstance(member, dict):
        raise KeyConfigError("a key is not a JSON object")
    # Told before PyJWK sees it, which takes secrets (kty "oct") too: whoever reads the set could then sign.
    if member.get("kty") not in ("RSA", "EC", "OKP"):
        raise KeyConfigError("a key's kty is not RSA, EC or OKP")
    if member.get("use", "sig") != "sig" or "verify" not in _operations(member):
        raise KeyConfigError("a key is not for signatures")
    kid, named = member.get("kid"), member.get("alg")
    if not isinstance(kid, str | None):
        raise KeyConfigError("a key's kid is not text")
    if named is not None and named not in PUBLIC_ALGORITHMS:
        raise KeyConfigError(f"a key's alg is not one of {', '.join(PUBLIC_ALGORITHMS)}")
    material, algorithm = _usable(_load_jwk(member))
    return Key(material, algorithm, kid)


def _operations(member: dict[Any, Any]) -> list[Any]:
    operations = member.get("key_ops", ["verify"])
    return operations if isinstance(operations, list) else []


def _load_jwk(member: dict[Any, Any]) -> object:
    try:
        return PyJWK(member).key
    except (PyJWTError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm) as error:
        raise KeyConfigError("a key cannot be read") from error


def _load_pem(block: bytes) -> object:
    try:
        return load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyConfigError("its public key cannot be read") from error


def _usable(material: object) -> tuple[PublicKey, str]:
    """The key and its algorithm, told by the key itself and not by what is written next to it."""
    match material:
        case RSAPublicKey():
            if material.key_size < MIN_RSA_BITS:
                raise KeyConfigError(f"an RSA key of {material.key_size} bits; {MIN_RSA_BITS} or more are needed")
            return material, "RS256"
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return material, "ES256"
        case Ed25519PublicKey():
            return material, "EdDSA"
    raise KeyConfigError("a key is not a public RSA, P-256 or Ed25519 key")
