"""Which tokens the hub believes: the settings, and the verifier they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from milepost.errors import UsageError

if TYPE_CHECKING:
    from milepost_hub.keys import KeySource
    from milepost_hub.signer import Signer

NEW_KEY = "  export MILEPOST_JWT_SECRET=\"$(python3 -c 'import secrets; print(secrets.token_urlsafe(48))')\""
NO_KEY = f"no secret to verify tokens with: set MILEPOST_JWT_SECRET to 32 random characters, as in\n{NEW_KEY}"


class Verification(BaseModel):
    """Keys, and what else a token must say. Several kinds of keys may be given at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    jwt_secret: str | None = Field(default=None, repr=False)
    """Secret that tokens are signed with (HS256), at least 32 bytes; better given by the environment."""
    jwt_public_key: Path | None = None
    """PEM file with public keys of RS256, ES256 or EdDSA."""
    jwks_file: Path | None = None
    """JSON Web Key Set as a file; read again when it changes."""
    jwks_url: str | None = None
    """JSON Web Key Set as a URL; fetched again as keys rotate."""
    jwt_issuer: str | None = None
    """The only issuer (iss) that is believed."""
    jwt_audience: str | None = None
    """The audience (aud) that a token must name."""
    jwt_leeway: float = Field(default=0.0, ge=0, le=300)
    """Seconds by which clocks may differ."""

    def key_source(self) -> KeySource:
        """The keys. UsageError when there is none, or one that cannot be used."""
        from milepost_hub.errors import KeyConfigError
        from milepost_hub.keys import KeySource

        if not (self.jwt_secret or self.jwt_public_key or self.jwks_file or self.jwks_url):
            raise UsageError(
                NO_KEY + "\nor give public keys: --jwt-public-key FILE, --jwks-file FILE or --jwks-url URL"
            )
        try:
            return KeySource(
                secrets=[self.jwt_secret] if self.jwt_secret else [],
                public_key_files=[self.jwt_public_key] if self.jwt_public_key else [],
                jwks_files=[self.jwks_file] if self.jwks_file else [],
                jwks_urls=[self.jwks_url] if self.jwks_url else [],
            )
        except KeyConfigError as error:
            raise UsageError(f"the keys to verify tokens with: {error}") from error

    def signer(self) -> Signer | None:
        """What signs tokens for submitted jobs; None without a secret, for public keys sign nothing."""
        from milepost_hub.signer import Signer

        return Signer(self.jwt_secret) if self.jwt_secret else None
