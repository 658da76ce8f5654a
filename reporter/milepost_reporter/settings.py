"""Every setting of a reporter, with its default."""

import importlib.util
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from milepost_reporter.names import check_job, check_tenant

_SCHEMES: Final = ("nats", "tls", "ws", "wss")
_MAX_RUN: Final = 2**53 - 1

MODES: Final = ("online", "disabled")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach NATS, whom to speak for, and how much to hold. ValueError for what cannot be right.

    Times are seconds. Secrets stay out of the repr.
    """

    nats_url: str
    """One server or several, separated by commas: `nats://host:4222`."""

    tenant: str
    job: str

    run: int = 1
    """Which execution of the job, from 1."""

    name: str | None = None
    """The job's name, for people."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    creds: str | None = None
    """Path of a NATS credentials file; needs `nats-py[nkeys]`."""

    ca: str | None = None
    """Path of the certificate authority's PEM file that signed the server's certificate."""

    inbox_prefix: str = "_INBOX"
    """Where answers arrive, for accounts that may not listen on `_INBOX.>`."""

    interval: float = 0.1
    """At most one progress event per node in this time."""

    close_timeout: float = 5.0
    """How long `close()` may take to send what is left while NATS is there."""

    unreachable_timeout: float = 1.0
    """How long it may take while NATS is not."""

    lease: float = 30.0
    """A job that has begun and is not heard of for so long is declared lost; 0 promises nothing."""

    max_events: int = 10_000
    """Events kept while they cannot be sent."""

    max_bytes: int = 8 * 1024 * 1024
    """Their payloads' bytes."""

    window_events: int = 512
    """Events sent and not yet known to have arrived."""

    window_bytes: int = 1024 * 1024
    """Their payloads' bytes."""

    connect_timeout: float = 2.0
    reconnect_wait: float = 0.2

    ping_interval: float = 5.0
    """How often a quiet connection is tried; one that leaves two unanswered is given up."""

    def __post_init__(self) -> None:
        _check_text("nats_url", self.nats_url)
        check_tenant(self.tenant)
        check_job(self.job)
        _check_servers(self.servers)
        _check_count("run", self.run, most=_MAX_RUN)
        for name in ("max_events", "max_bytes", "window_events", "window_bytes"):
            _check_count(name, getattr(self, name))
        for name in ("interval", "close_timeout", "unreachable_timeout", "reconnect_wait", "lease"):
            _check_seconds(name, getattr(self, name), zero=True)
        for name in ("connect_timeout", "ping_interval"):
            _check_seconds(name, getattr(self, name), zero=False)
        for name in ("name", "user", "password", "token", "inbox_prefix"):
            _check_text(name, getattr(self, name))
        self._check_files()

    def of_run(self, tenant: str, job: str, run: int, name: str | None) -> Self:
        """The same for another run, whose names are known to be right: nothing is checked once more."""
        settings = object.__new__(type(self))
        settings.__dict__.update(self.__dict__, tenant=tenant, job=job, run=run, name=name)
        return settings

    @property
    def servers(self) -> list[str]:
        """The servers' URLs."""
        return [url.strip() for url in self.nats_url.split(",") if url.strip()]

    @property
    def tls(self) -> bool:
        """Whether a server without TLS is to be refused."""
        return self.ca is not None or any(url.startswith(("tls:", "wss:")) for url in self.servers)

    def connect_options(self) -> dict[str, Any]:
        """What nats-py's `connect` is to be told."""
        options: dict[str, Any] = {
            "servers": self.servers,
            "name": f"milepost reporter {self.tenant}/{self.job}",
            # A connection that ends is replaced by a new client: nats-py would write what was left of the
            # old one before anything could be sent again in order.
            "allow_reconnect": False,
            # For a first connection: -1 tries for ever, as does 0; the default gives up after two minutes.
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": self.reconnect_wait,
            "connect_timeout": self.connect_timeout,
            "ping_interval": self.ping_interval,
            "max_outstanding_pings": 2,
            "pending_size": -1,
            "inbox_prefix": self.inbox_prefix,
            "user": self.user,
            "password": self.password,
            "token": self.token,
            "user_credentials": self.creds,
        }
        if self.ca is not None:
            options["tls"] = ssl.create_default_context(cafile=self.ca)
        return options

    def _check_files(self) -> None:
        for name in ("creds", "ca"):
            path = getattr(self, name)
            if path is not None and not (isinstance(path, str) and Path(path).is_file()):
                raise ValueError(f"{name}: no such file: {path!r:.200}")
        if self.creds is not None and importlib.util.find_spec("nkeys") is None:
            raise ValueError("creds: credentials files need the package nkeys: pip install 'nats-py[nkeys]'")
        if self.ca is not None:
            try:
                ssl.create_default_context(cafile=self.ca)
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"ca: not a certificate: {self.ca!r:.200}") from error

    @classmethod
    def from_env(cls, environ: Mapping[str, str], warn: Callable[[str], None]) -> Self | None:
        """The settings in environment variables; None when a reporter cannot be made of them.

        What cannot be used is told to `warn` and done without. Without `NATS_URL`, `MILEPOST_TENANT` and
        `MILEPOST_JOB` there is nothing to report to.
        """
        mode = environ.get("MILEPOST_MODE") or "online"
        if mode == "disabled":
            return None
        if mode not in MODES:
            warn(f"MILEPOST_MODE is {mode!r:.40}, which is neither of {', '.join(MODES)}: taken as online")
        missing = [name for name in _REQUIRED if not environ.get(name)]
        if missing:
            warn(f"not reporting progress: {', '.join(missing)} not set")
            return None
        needed = {_REQUIRED[name]: environ[name] for name in _REQUIRED}
        try:
            settings = cls(**needed)  # type: ignore[arg-type] # mypy takes the values for every field's
        except ValueError as error:
            warn(f"not reporting progress: {error}")
            return None
        return settings._with_optional(environ, warn)

    def _with_optional(self, environ: Mapping[str, str], warn: Callable[[str], None]) -> Self | None:
        settings = self
        for variable, (name, read) in _OPTIONAL.items():
            text = environ.get(variable)
            if not text:
                continue
            try:
                settings = type(self)(**{**settings.__dict__, name: read(text)})
            except ValueError as error:
                if name in _ACCESS:
                    warn(f"not reporting progress: {variable}: {error}")
                    return None
                warn(f"{variable} is ignored: {error}")
        return settings


def speaks_for_job(environ: Mapping[str, str], warn: Callable[[str], None]) -> bool:
    """Whether a reporter of this environment tells its job's start and end: not where `MILEPOST_OWNER` is no."""
    owner = environ.get("MILEPOST_OWNER") or "yes"
    if owner not in ("yes", "no"):
        warn(f"MILEPOST_OWNER is {owner!r:.40}, which is neither yes nor no: taken as yes")
    return owner != "no"


_REQUIRED: Final = {"NATS_URL": "nats_url", "MILEPOST_TENANT": "tenant", "MILEPOST_JOB": "job"}

_OPTIONAL: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "NATS_USER": ("user", str),
    "NATS_PASSWORD": ("password", str),
    "NATS_TOKEN": ("token", str),
    "NATS_CREDS": ("creds", str),
    "NATS_CA": ("ca", str),
    "NATS_INBOX_PREFIX": ("inbox_prefix", str),
    "MILEPOST_RUN": ("run", int),
    "MILEPOST_NAME": ("name", str),
    "MILEPOST_INTERVAL": ("interval", float),
    "MILEPOST_CLOSE_TIMEOUT": ("close_timeout", float),
    "MILEPOST_UNREACHABLE_TIMEOUT": ("unreachable_timeout", float),
    "MILEPOST_LEASE_SECONDS": ("lease", float),
    "MILEPOST_MAX_EVENTS": ("max_events", int),
    "MILEPOST_MAX_BYTES": ("max_bytes", int),
}

_ACCESS: Final = frozenset({"creds", "ca"})
"""Without these nothing would be reached, or not the one that was meant."""


def _check_servers(servers: list[str]) -> None:
    if not servers:
        raise ValueError("nats_url must name a server: nats://host:4222")
    for server in servers:
        try:
            url = urlsplit(server)
            right = url.scheme in _SCHEMES and bool(url.hostname) and url.port != 0
        except ValueError:
            right = False
        if not right:
            # Not the text itself: it may hold a password.
            raise ValueError(f"nats_url must look like nats://host:4222, with one of {', '.join(_SCHEMES)}")


def _check_count(name: str, value: object, most: float = math.inf) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1, not {value!r:.40}")


def _check_seconds(name: str, value: object, *, zero: bool) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not zero):  # type: ignore[operator]
        raise ValueError(f"{name} must be seconds{'' if zero else ' above 0'}, not {value!r:.40}")


def _check_text(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and value):
        raise ValueError(f"{name} must be text, and not empty")
