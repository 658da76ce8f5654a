"""What a grant allows."""

from __future__ import annotations

import dataclasses

import pytest
from milepost_hub.grant import SCOPES, Grant


def test_without_a_job_list_every_job_of_the_tenant_may_be_watched() -> None:
    assert Grant("acme", 0).may_watch("42")


def test_with_a_job_list_only_those_jobs_may_be_watched() -> None:
    grant = Grant("acme", 0, jobs=frozenset({"42"}))
    assert grant.may_watch("42")
    assert not grant.may_watch("43")
    assert not grant.may_watch("042")


def test_an_empty_job_list_is_no_job_and_not_all_of_them() -> None:
    assert not Grant("acme", 0, jobs=frozenset()).may_watch("42")


@pytest.mark.parametrize("scope", sorted(SCOPES))
def test_a_scope_allows_itself_and_no_other(scope: str) -> None:
    grant = Grant("acme", 0, scopes=frozenset({scope}))
    assert {name for name in SCOPES if grant.allows(name)} == {scope}
    assert grant.may_watch("42") == (scope == "watch")


def test_nothing_changes_a_grant() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Grant("acme", 0).tenant = "other"  # type: ignore[misc]
