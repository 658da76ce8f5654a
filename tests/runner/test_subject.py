"""Names in NATS are written one way, and read back or told apart."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from milepost_runner import subject
from milepost_runner.subject import Place, QueueName

NAME = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
ANY = st.text() | st.lists(
    st.sampled_from(["tenant", "work", "a", "$KV", "MILEPOST_JOBS", "*", ">", "", "@", "x" * 65])
).map(".".join)
NO_NAME = re.compile(r"[^A-Za-z0-9_-]")


@given(NAME, NAME, NAME)
def test_whatever_is_written_is_read_back(tenant: str, queue: str, job: str) -> None:
    assert subject.parse_work(subject.work(tenant, queue, job)) == Place(tenant, queue, job)
    assert subject.parse_record(subject.record(tenant, job)) == (tenant, job)
    assert subject.parse_consumer(subject.consumer(QueueName(tenant, queue))) == QueueName(tenant, queue)


@given(ANY)
@example("tenant.acme.work.default.*")
@example("tenant.acme.work.default.1\n")
@example("$KV.MILEPOST_JOBS.acme.1.2")
@example("acme@default@x")
def test_anything_else_is_none_of_ours(text: str) -> None:
    """Nothing is raised, and what is read has names alone, which nobody can take for a wildcard or a second token."""
    for read in (subject.parse_work(text), subject.parse_record(text), subject.parse_consumer(text)):
        assert read is None or not any(NO_NAME.search(name) for name in read)


@given(NAME, NAME, NAME, NAME)
def test_no_two_queues_share_a_consumer(tenant: str, queue: str, other: str, another: str) -> None:
    """A tenant's name may hold what a queue's may, but not the sign between them."""
    same = (tenant, queue) == (other, another)
    assert (subject.consumer(QueueName(tenant, queue)) == subject.consumer(QueueName(other, another))) == same


def test_a_tenants_handlers_are_apart_from_everybodys() -> None:
    """Also those of a tenant called `all`."""
    assert subject.handler("build", None) == "$KV.MILEPOST_HANDLERS.all.build"
    assert subject.handler("build", "all") == "$KV.MILEPOST_HANDLERS.tenant.all.build"
