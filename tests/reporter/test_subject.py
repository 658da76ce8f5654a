"""Subjects built and parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter import subject
from milepost_reporter.subject import Subject

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


@given(NAMES, NAMES, NAMES, st.integers(1, 2**53 - 1))
def test_what_is_built_is_parsed_back(tenant: str, job: str, reporter: str, run: int) -> None:
    assert subject.parse(subject.progress(tenant, job)) == Subject(tenant, job, "progress", None)
    assert subject.parse(subject.alive(tenant, job)) == Subject(tenant, job, "alive", None)
    assert subject.parse(subject.control(tenant, job)) == Subject(tenant, job, "control", None)
    assert subject.parse(subject.state(tenant, job, reporter)) == Subject(tenant, job, "state", reporter)
    ended = subject.parse(subject.end(tenant, job, run))
    assert ended == Subject(tenant, job, "end", str(run))
    assert ended.run == run


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tenant",
        "tenant.a.job.b",
        "tenant.a.job.b.progress.x",
        "tenant.a.job.b.end",
        "tenant.a.job.b.end.0",
        "tenant.a.job.b.end.01",
        "tenant.a.job.b.end.x",
        "tenant.a.job.b.end.1.2",
        "tenant.a.job.b.state",
        "tenant.a.job.b.other",
        "tenant.*.job.b.progress",
        "tenant.a.job.>.progress",
        "tenant..job.b.progress",
        "Tenant.a.job.b.progress",
        "live.tenant.a.job.b.progress",
        "tenant.a.jobs.b.progress",
        "tenant.a b.job.b.progress",
    ],
)
def test_what_is_not_ours_is_none(text: str) -> None:
    assert subject.parse(text) is None


@given(st.text())
def test_parsing_never_raises(text: str) -> None:
    parsed = subject.parse(text)
    assert parsed is None or text.startswith(f"tenant.{parsed.tenant}.job.{parsed.job}.{parsed.leaf}")
