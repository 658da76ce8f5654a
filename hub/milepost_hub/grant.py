"""What a verified token allows."""

from __future__ import annotations

from dataclasses import dataclass

SCOPES = frozenset({"watch", "submit", "cancel"})
"""Everything a token can allow; a token without a `scope` allows `watch`."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may do, and until when. Made by `token.Verifier`; nothing a client sends changes it."""

    tenant: str
    """The only tenant this client will ever hear of."""
    expires_at: float
    """When the grant ends, in unix seconds: the token's `exp` plus the verifier's leeway."""
    subject: str | None = None
    """Whom the token was made out to."""
    jobs: frozenset[str] | None = None
    """The only jobs it is good for, by their ids as in NATS subjects; None is every job of the tenant."""
    scopes: frozenset[str] = frozenset({"watch"})
    """A subset of `SCOPES`."""

    def allows(self, scope: str) -> bool:
        """Whether the token carries this scope."""
        return scope in self.scopes

    def may_watch(self, job: str) -> bool:
        """Whether this client may see that job of its tenant."""
        return self.may("watch", job)

    def may(self, scope: str, job: str) -> bool:
        """Whether the token carries this scope, and is good for that job of its tenant."""
        return self.allows(scope) and (self.jobs is None or job in self.jobs)
