"""Every figure of the hub, with its default. The front door gives each a flag and an environment variable."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from milepost_hub.origin import ANY, read_origin

KIB = 1024
MIB = 1024 * KIB
YEAR = 365 * 86_400


class HubSettings(BaseModel):
    """How a hub listens, what it holds for a client, and when it loses patience.

    Times are seconds, sizes are bytes. A value out of range raises pydantic's ValidationError, which names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port for WebSocket and HTTP alike; 0 takes a free one."""
    allow_origins: tuple[str, ...] = ()
    """Web origins besides the hub's own that may connect, as `https://app.example`; `*` allows all."""
    trusted_proxies: str = "127.0.0.1"
    """Addresses, comma separated, whose `X-Forwarded-*` headers are believed; `*` believes all."""
    access_log: bool = False
    """Log every HTTP request, without its query string."""

    ping_interval: float = Field(default=54.0, gt=0)
    """A protocol ping this often."""
    pong_timeout: float = Field(default=60.0, gt=0)
    """A client without a pong for this long is dead."""
    write_wait: float = Field(default=10.0, gt=0)
    """What was written must have left within this time, the closing frame too."""
    heartbeat_interval: float = Field(default=15.0, gt=0)
    """A `heartbeat` message after this much silence."""
    auth_wait: float = Field(default=10.0, gt=0)
    """A client without a token in its URL must send one within this time."""
    token_notice: float = Field(default=60.0, ge=0)
    """`token.expiring` this long before a token expires."""

    max_message_bytes: int = Field(default=4096, ge=128)
    """The longest message a client may send."""
    queue_messages: int = Field(default=256, ge=1)
    """Messages held for a client that does not read; more close it."""
    queue_bytes: int = Field(default=MIB, ge=4 * KIB)
    """Bytes held for a client that does not read, the transport's buffer included."""
    unsent_bytes: int = Field(default=16 * KIB, ge=0)
    """TCP_NOTSENT_LOWAT of a client's socket: what the kernel may hold unsent. 0 leaves the system's default."""

    max_connections: int = Field(default=20_000, ge=1)
    """Clients of one process."""
    max_connections_per_tenant: int = Field(default=10_000, ge=1)
    """Clients of one tenant in one process."""
    max_subscriptions: int = Field(default=100, ge=1)
    """Subscriptions of one client."""
    max_messages_per_second: float = Field(default=20.0, gt=0)
    """Messages a client may send, pings included, on average; ten seconds' worth may come at once."""
    max_bad_messages: int = Field(default=10, ge=1)
    """Unreadable messages before a client is closed."""

    submit_max_bytes: int = Field(default=68 * KIB, ge=128)
    """The longest body of a request to submit a job: 64 KiB of payload, and what is around it."""
    body_wait: float = Field(default=10.0, gt=0)
    """The body of a request must have come within this time."""
    job_token_seconds: float = Field(default=3600.0, gt=0, le=YEAR)
    """How long the token is good for that answers a submitted job; never longer than the submitter's own."""

    ring_events: int = Field(default=1000, ge=1)
    """Of each watched job's last events so many are held, for those who join or come back."""
    ring_bytes: int = Field(default=256 * KIB, ge=0)
    """And so many bytes of them, at most."""
    rings_bytes: int = Field(default=64 * MIB, ge=0)
    """Bytes held of all jobs' last events together."""

    flush_factor: float = Field(default=6.0, ge=0)
    """How many times a flush's own cost passes before the next one, under load; see `pace`."""
    flush_rest: float = Field(default=0.002, ge=0, le=1)
    """The shortest time from one flush to the next; an event that comes alone goes at once."""
    flush_pause: float = Field(default=0.025, ge=0, le=1)
    """The longest wait between two flushes."""
    drain_seconds: float = Field(default=3.0, ge=0)
    """At shutdown, clients are told to come back over this long, so that they do not all come at once."""

    @field_validator("allow_origins")
    @classmethod
    def _as_browsers_write_them(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin if origin == ANY else read_origin(origin) for origin in origins)

    @model_validator(mode="after")
    def _pings_come_before_patience_ends(self) -> HubSettings:
        if self.ping_interval >= self.pong_timeout:
            raise ValueError("ping_interval must be shorter than pong_timeout, else every idle client is cut off")
        return self
