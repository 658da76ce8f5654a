"""Tokens that the hub itself makes: good for one job, for whoever has submitted it."""

from __future__ import annotations

from milepost_hub.grant import Grant
from milepost_hub.key import secret_bytes
from milepost_hub.token import Verifier, issue


class Signer:
    """Signs with the secret (HS256) that the hub's verifier takes as well.

    Raises KeyConfigError for a secret that is none.
    """

    def __init__(self, secret: str) -> None:
        secret_bytes(secret)
        self._secret = secret

    def job_token(self, submitter: Grant, job: str, verifier: Verifier, ttl: float) -> str:
        """A token that shows this job alone, and cancels it if the submitter's does; in the submitter's name.

        It is good for `ttl` seconds, and never longer than the submitter's own: who may not come in any more leaves
        no key behind. Issuer and audience are what the verifier asks for.
        """
        return issue(
            self._secret,
            submitter.tenant,
            jobs=[job],
            scopes=["watch", "cancel"] if submitter.allows("cancel") else ["watch"],
            subject=submitter.subject,
            ttl=ttl,
            # The leeway will be added once more when this token is looked at.
            not_beyond=submitter.expires_at - verifier.leeway,
            issuer=verifier.issuer,
            audience=verifier.audience,
        )
