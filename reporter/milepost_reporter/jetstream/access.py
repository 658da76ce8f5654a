"""How to reach NATS: credentials, TLS and patience, with every default."""

from __future__ import annotations

import importlib.util
import ssl
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, model_validator

_SCHEMES: Final = ("nats", "tls")


class Access(BaseModel):
    """How to reach NATS. A program's own settings stand on it.

    Times are seconds. What cannot be used raises pydantic's ValidationError, which names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    connection_name: ClassVar[str] = "milepost"
    """What `nats server report connections` shows."""

    user: str | None = None
    """NATS user, with `password`."""
    password: SecretStr | None = None
    """The user's password."""
    token: SecretStr | None = None
    """NATS token, in place of user and password."""
    creds: FilePath | None = None
    """A NATS credentials file; needs `nats-py[nkeys]`."""
    ca: FilePath | None = None
    """PEM file of the authority that signed the server's certificate; connects by TLS or not at all."""
    cert: FilePath | None = None
    """PEM file of the bridge's own certificate, with `key`; connects by TLS or not at all."""
    key: FilePath | None = None
    """PEM file of the certificate's private key."""

    connect_timeout: float = Field(default=2.0, gt=0)
    """The longest wait for a server to answer a new connection."""
    reconnect_wait: float = Field(default=0.2, gt=0)
    """Pause before a second attempt to connect; doubled for each further one."""
    reconnect_wait_max: float = Field(default=2.0, gt=0)
    """The longest pause between attempts."""
    ping_interval: float = Field(default=5.0, gt=0)
    """A ping this often; a server that leaves two unanswered is given up when the third is due."""

    request_timeout: float = Field(default=5.0, gt=0)
    """The longest silence of JetStream that is waited for, when it was asked for something."""

    @model_validator(mode="after")
    def _access_fits_together(self) -> Access:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together")
        if self.creds is not None and importlib.util.find_spec("nkeys") is None:
            raise ValueError("creds need the package nkeys: pip install 'nats-py[nkeys]'")
        self.tls_context()
        return self

    def tls_context(self) -> ssl.SSLContext | None:
        """The TLS context of `ca`, `cert` and `key`; None without them, ValueError when they are unusable."""
        if self.ca is None and self.cert is None:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"ca, cert and key must be PEM files: {error}") from error
        return context

    def connect_options(self) -> dict[str, Any]:
        """What nats-py's `connect` is told, besides servers and callbacks."""
        options: dict[str, Any] = {
            "name": self.connection_name,
            # A lost connection is replaced by a new client: nats-py's own reconnecting can hang for good.
            "allow_reconnect": False,
            # 0 and -1 try for ever, and the default for two minutes, whatever else is set.
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": self.reconnect_wait,
            "connect_timeout": self.connect_timeout,
            "ping_interval": self.ping_interval,
            "max_outstanding_pings": 2,
            "user": self.user,
            "password": self.password and self.password.get_secret_value(),
            "token": self.token and self.token.get_secret_value(),
            "user_credentials": self.creds and str(self.creds),
        }
        context = self.tls_context()
        return options if context is None else {**options, "tls": context}


def servers(nats_url: str) -> list[str]:
    """The servers in `nats_url`, separated by commas. ValueError, which never repeats a password."""
    urls = [url.strip() for url in nats_url.split(",") if url.strip()]
    if not urls or not all(map(_is_server, urls)):
        raise ValueError("a NATS URL must look like nats://host:4222 or tls://host:4222")
    return urls


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
