"""Key pairs that sign tokens in the tests, and their public halves in every form the hub reads."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from milepost_hub.key import PublicKey

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

SECRET = "a secret of the tests, long enough for HS256"
OTHER_SECRET = "another secret of the tests, as long as it must be"


def claims(**changes: object) -> dict[str, Any]:
    """Claims of a good token; a change to None leaves that claim out."""
    good = {"tenant": "acme", "exp": time.time() + 600} | changes
    return {name: value for name, value in good.items() if value is not None}


@dataclass(frozen=True)
class Signer:
    """One key pair under one `kid`."""

    private: PrivateKey
    algorithm: str
    kid: str

    def token(self, kid: str | None = "", **changes: object) -> str:
        """A good token but for the changes; `kid` None leaves the header's out."""
        name = self.kid if kid == "" else kid
        headers = None if name is None else {"kid": name}
        return jwt.encode(claims(**changes), self.private, self.algorithm, headers=headers)

    @property
    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def private_pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def jwk(self) -> dict[str, Any]:
        return self._jwk(self.private.public_key()) | {"kid": self.kid, "use": "sig"}

    @property
    def private_jwk(self) -> dict[str, Any]:
        return self._jwk(self.private) | {"kid": self.kid}

    @staticmethod
    def _jwk(key: PrivateKey | PublicKey) -> dict[str, Any]:
        match key:
            case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
                jwk = RSAAlgorithm.to_jwk(key, as_dict=True)
            case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
                jwk = ECAlgorithm.to_jwk(key, as_dict=True)
            case _:
                jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
        return {name: value for name, value in jwk.items() if name != "key_ops"}


@cache
def rsa_signer(kid: str = "rsa", bits: int = 2048) -> Signer:
    return Signer(rsa.generate_private_key(65537, bits), "RS256", kid)


@cache
def ec_signer(kid: str = "ec") -> Signer:
    return Signer(ec.generate_private_key(ec.SECP256R1()), "ES256", kid)


@cache
def ed_signer(kid: str = "ed") -> Signer:
    return Signer(ed25519.Ed25519PrivateKey.generate(), "EdDSA", kid)


def key_set(*signers: Signer) -> bytes:
    return json.dumps({"keys": [signer.jwk for signer in signers]}).encode()
