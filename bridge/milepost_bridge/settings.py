"""How the bridge reaches NATS, and what it holds, with every default."""

from __future__ import annotations

import importlib.util
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, model_validator

_SCHEMES: Final = ("nats", "tls")

CONNECTION_NAME: Final = "milepost-bridge"
"""What `nats server report connections` shows."""


class BridgeSettings(BaseModel):
    """How to reach NATS, and what to hold of what it brings.

    Times are seconds, sizes are bytes. What cannot be used raises pydantic's ValidationError, which names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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

    control_timeout: float = Field(default=5.0, gt=0)
    """The longest wait for a job's program to answer a request, such as to cancel it."""

    log: bool = True
    """Keep a log of every job in JetStream, wherever the server has it. Without, events are shown live only."""
    log_max_age: float = Field(default=7 * 86_400.0, ge=1)
    """Events and state records are kept for this long."""
    log_events_per_job: int = Field(default=10_000, ge=1)
    """Events kept of each job; beyond, its oldest go."""
    log_max_bytes: int = Field(default=2**30, ge=0)
    """The most that the log may take on disk; beyond, the oldest events of all jobs go. 0: no bound of its own."""
    log_replicas: int = Field(default=1, ge=1, le=5)
    """Copies of each event, on as many servers of a cluster; 3 survive the loss of one."""
    log_update: bool = False
    """Change streams that exist to these settings, where NATS allows that. Without, what differs is told."""
    log_check: float = Field(default=30.0, gt=0)
    """A watched job that is quiet for this long is compared with the log, within 2 s in a cluster; then less often."""
    log_look: float = Field(default=5.0, gt=0)
    """The streams are looked at this often: whether they are there, the same, and fit. JetStream may come or go."""

    lease_min: float = Field(default=1.0, gt=0)
    """A job that promises to beat more often is given this long."""
    lease_max: float = Field(default=86_400.0, gt=0)
    """A job that promises to beat less often is held to this."""
    lease_jobs: int = Field(default=200_000, ge=1)
    """Jobs whose beats are waited for; beyond, further ones are not watched, and it is told."""
    lease_scan: float = Field(default=300.0, gt=0)
    """The log is looked through this often for runs whose job has died unheard."""

    linger: float = Field(default=5.0, ge=0)
    """A tenant that nobody watches any more is kept subscribed for this long: a reload finds it there."""

    max_payload: int = Field(default=65_536, ge=1)
    """The longest event; longer ones are counted as `invalid_too_large`."""
    max_jobs: int = Field(default=50_000, ge=1)
    """Watched jobs whose runs and duplicates are told apart; beyond, the longest silent is forgotten."""
    max_reporters: int = Field(default=256, ge=1)
    """Reporters of one job whose duplicates are told; beyond, the longest silent is forgotten."""
    job_memory: float = Field(default=60.0, gt=0)
    """A job that nobody has watched for this time is forgotten."""

    summary_interval: float = Field(default=1.0, gt=0)
    """At most one summary of a job in this time."""
    summary_jobs: int = Field(default=10_000, ge=1)
    """Jobs that are summed up; beyond, the longest silent is forgotten."""
    stalled_after: float = Field(default=120.0, gt=0)
    """A job that has not ended is shown as stalled after this time without an event."""

    @model_validator(mode="after")
    def _settings_fit_together(self) -> BridgeSettings:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together")
        if self.lease_min > self.lease_max:
            raise ValueError("lease_min is longer than lease_max")
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
            "name": CONNECTION_NAME,
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
