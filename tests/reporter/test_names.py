"""Names of tenants and jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_reporter.names import check_job, check_tenant, json_job_id


@pytest.mark.parametrize("name", ["a", "A-z_9", "-", "0", "x" * 64])
def test_good_names(name: str) -> None:
    assert check_tenant(name) == name
    assert check_job(name) == name


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", ">", "ä", "x" * 65, "a\n", "٣"])
def test_bad_names_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(ValueError, match="tenant must be 1 to 64 letters"):
        check_tenant(name)
    with pytest.raises(ValueError, match="job must be 1 to 64 letters"):
        check_job(name)


def test_a_job_may_be_a_number_but_not_a_truth() -> None:
    assert check_job(42) == "42"
    with pytest.raises(ValueError, match="job"):
        check_job(True)


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        ("123", 123),
        ("0", 0),
        ("00", "00"),
        ("-5", "-5"),
        ("1a", "1a"),
        (str(2**53 - 1), 2**53 - 1),
        (str(2**53), str(2**53)),
        ("9" * 64, "9" * 64),
    ],
)
def test_job_ids_in_json(job: str, shown: int | str) -> None:
    """A number only where JavaScript keeps every digit and the text can be had back."""
    assert json_job_id(job) == shown
    assert type(json_job_id(job)) is type(shown)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_a_shown_job_id_leads_back_to_the_job(job: str) -> None:
    assert check_job(json_job_id(job)) == job
