"""nats-server in operator mode: its own kind of JWT check, for counting connections with one.

A user JWT with `bearer_token` needs no signed nonce, so it is what a token in a URL is to the hub. The
format is that of NATS' decentralized authentication: Ed25519 keys as base32 with a prefix byte and a CRC, and
JWTs of the algorithm `ed25519-nkey`.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_OPERATOR: Final = 14 << 3  # the prefix byte that makes the first letter an O
_ACCOUNT: Final = 0  # A
_USER: Final = 20 << 3  # U
_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}


class Accounts(NamedTuple):
    """A nats-server configuration, and the JWT of a user in it."""

    config: str
    user_jwt: str


def make_accounts() -> Accounts:
    """An operator, one account, one user, with new keys."""
    operator, account, user = (Ed25519PrivateKey.generate() for _ in range(3))
    operator_id, account_id = _public(operator, _OPERATOR), _public(account, _ACCOUNT)
    unlimited = {"subs": -1, "data": -1, "payload": -1}
    account_limits = {**unlimited, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    operator_jwt = _jwt(operator, operator_id, operator_id, {"type": "operator"})
    account_jwt = _jwt(operator, operator_id, account_id, {"type": "account", "limits": account_limits})
    user_claims = {"type": "user", "bearer_token": True, **unlimited}
    user_jwt = _jwt(account, account_id, _public(user, _USER), user_claims)
    config = f"operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {account_id}: {account_jwt} }}\n"
    return Accounts(config, user_jwt)


def _public(key: Ed25519PrivateKey, prefix: int) -> str:
    raw = bytes([prefix]) + key.public_key().public_bytes_raw()
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + checksum).rstrip(b"=").decode()


def _jwt(signer: Ed25519PrivateKey, issuer: str, subject: str, claims: dict[str, Any]) -> str:
    now = int(time.time())
    body = {
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + 3600,
        "iss": issuer,
        "name": "benchmark",
        "sub": subject,
        "nats": {**claims, "version": 2},
    }
    signed = f"{_segment(json.dumps(_HEADER))}.{_segment(json.dumps(body))}"
    return f"{signed}.{_segment(signer.sign(signed.encode()))}"


def _segment(value: str | bytes) -> str:
    raw = value.encode() if isinstance(value, str) else value
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
