"""Names of tenants, jobs and reporters: one subject token each, without dots and wildcards.

Source: protocol, *Names*.
"""

import re
import secrets
from typing import Final

MAX_NAME: Final = 64
NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")

_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")
_UNIQUE_BYTES: Final = 4

_CANONICAL_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
_SAFE_INTEGERS = 2**53
"""A JavaScript number holds every integer below this one exactly."""


def is_name(value: str) -> bool:
    """Whether `value` may stand in a subject as a tenant, a job or a reporter."""
    return NAME.fullmatch(value) is not None


def check_tenant(value: str) -> str:
    """`value`, when it may name a tenant. ValueError otherwise, with a reason a person can act on."""
    return _check("tenant", value)


def check_job(value: str | int) -> str:
    """`value` as text, when it may name a job. ValueError otherwise, with a reason a person can act on."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return _check("job", value)


def json_job_id(job: str) -> int | str:
    """A job's id as JSON shows it: a number when it is a canonical decimal below 2^53, else a string."""
    if _CANONICAL_DECIMAL.fullmatch(job) and (number := int(job)) < _SAFE_INTEGERS:
        return number
    return job


def new_job_id(name: str) -> str:
    """An id that nobody has had, beginning with what it can of `name`: `nightly-import-5f0c3a9e`."""
    unique = secrets.token_hex(_UNIQUE_BYTES)
    start = _UNFIT.sub("-", name)[: MAX_NAME - len(unique) - 1].strip("-_")
    return f"{start or 'job'}-{unique}"


def _check(what: str, value: object) -> str:
    if isinstance(value, str) and is_name(value):
        return value
    raise ValueError(f"{what} must be 1 to 64 letters, digits, '_' or '-', not {value!r:.80}")
