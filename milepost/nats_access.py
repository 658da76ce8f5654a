"""How the commands reach NATS: the names that everybody's NATS tools use."""

from __future__ import annotations

import importlib.util
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from milepost.errors import UsageError
from milepost.options import Group, OptionNames

if TYPE_CHECKING:
    from milepost_reporter.jetstream.access import Access

A = TypeVar("A", bound="Access")

GROUP = Group("NATS")
DEFAULT_URL = "nats://127.0.0.1:4222"


class NatsAccess(BaseModel):
    """Server, credentials and TLS. Secrets stay out of the repr."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: Annotated[str, OptionNames("--nats", "NATS_URL")] = DEFAULT_URL
    """NATS server, or several with commas between them."""
    user: Annotated[str | None, OptionNames("--nats-user", "NATS_USER")] = None
    """User name at NATS."""
    password: Annotated[str | None, OptionNames("--nats-password", "NATS_PASSWORD"), Field(repr=False)] = None
    """The user's password; better given by the environment, where others on the machine cannot see it."""
    token: Annotated[str | None, OptionNames("--nats-token", "NATS_TOKEN"), Field(repr=False)] = None
    """Token at NATS, instead of a user; better given by the environment."""
    creds: Annotated[Path | None, OptionNames("--nats-creds", "NATS_CREDS")] = None
    """NATS credentials file; needs the package nkeys."""
    ca: Annotated[Path | None, OptionNames("--nats-ca", "NATS_CA")] = None
    """PEM file of the authority that signed the server's certificate; by TLS or not at all."""
    cert: Annotated[Path | None, OptionNames("--nats-cert", "NATS_CERT")] = None
    """Our own certificate as a PEM file, where the server asks for one."""
    key: Annotated[Path | None, OptionNames("--nats-key", "NATS_KEY")] = None
    """The certificate's private key as a PEM file."""

    @property
    def servers(self) -> list[str]:
        """The servers' URLs."""
        return [url.strip() for url in self.url.split(",") if url.strip()]

    @property
    def shown(self) -> str:
        """The servers without what may be secret in them."""
        return ", ".join(url.rpartition("@")[2] if "@" in url else url for url in self.servers)

    @property
    def encrypted(self) -> bool:
        """Whether the connection is meant to be TLS."""
        schemes = [url.partition("://")[0] for url in self.servers]
        return self.ca is not None or self.cert is not None or "tls" in schemes or "wss" in schemes

    def given_to(self, settings: A) -> A:
        """The settings of one of our connections with the credentials in them. UsageError when these cannot be used."""
        from milepost_reporter.jetstream.access import servers

        credentials = self.model_dump(exclude={"url"}, exclude_none=True)
        try:
            servers(self.url)
            return type(settings)(**settings.model_dump(exclude_unset=True), **credentials)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            flag = f"--nats-{first['loc'][0]}: " if first["loc"] else ""
            raise UsageError(flag + first["msg"].removeprefix("Value error, ")) from None
        except ValueError as error:
            raise UsageError(f"--nats (or NATS_URL): {error}") from error

    def credentials(self) -> dict[str, Any]:
        """What nats-py's `connect` is told about user and TLS. UsageError when a file cannot be used."""
        options: dict[str, Any] = {"user": self.user, "password": self.password, "token": self.token}
        if self.creds is not None:
            if importlib.util.find_spec("nkeys") is None:
                raise UsageError("--nats-creds needs the package nkeys: pip install 'nats-py[nkeys]'")
            options["user_credentials"] = str(_existing("--nats-creds", self.creds))
        if self.encrypted:
            options["tls"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"--nats-ca, --nats-cert, --nats-key: cannot be used: {error}") from error
        return context


FIELDS = frozenset(NatsAccess.model_fields) - {"url"}
"""What settings of our own connections need no options for: they are told by NatsAccess, in other NATS tools' words."""


def _existing(flag: str, path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"{flag}: no such file: {path}")
    return path
