"""A job has one name, whether a client writes it as a number or as text."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_hub.job_id import read_job_id, write_job_id
from milepost_reporter.names import is_name, json_job_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)


@pytest.mark.parametrize(
    ("given", "job", "written"),
    [
        (123, "123", b"123"),
        ("123", "123", b"123"),
        (0, "0", b"0"),
        ("007", "007", b'"007"'),
        ("-1", "-1", b'"-1"'),
        ("nightly_2024-01", "nightly_2024-01", b'"nightly_2024-01"'),
        (2**53 - 1, "9007199254740991", b"9007199254740991"),
        ("9007199254740992", "9007199254740992", b'"9007199254740992"'),
        ("a" * 64, "a" * 64, b'"' + b"a" * 64 + b'"'),
    ],
)
def test_ids_are_read_and_written_as_the_wire_has_them(given: object, job: str, written: bytes) -> None:
    assert read_job_id(given) == job
    assert write_job_id(job) == written


@pytest.mark.parametrize(
    "bad",
    [
        "", "a.b", "*", ">", "a b", "a\n", "ä", "١٢", "a" * 65, "tenant.other.job.1", "../x", 'a"', "a\x00",
        -1, 2**53, 1.0, 1.5, True, False, None, [], {}, [1], b"1",
    ],
)  # fmt: skip
def test_what_is_no_id_is_refused_in_words(bad: object) -> None:
    with pytest.raises(ValueError, match="jobId must be a whole number below"):
        read_job_id(bad)


@given(JSON)
def test_whatever_is_accepted_is_one_token_of_a_subject(value: object) -> None:
    """A wildcard or a dot from a client would be another job's subject, or every job's."""
    try:
        job = read_job_id(value)
    except ValueError:
        return
    assert is_name(job)


@given(NAMES)
def test_what_is_written_is_read_as_the_same_job(job: str) -> None:
    """And it is written as a reporter's own library writes it."""
    written = json.loads(write_job_id(job))
    assert read_job_id(written) == job
    assert written == json_job_id(job)
    assert type(written) is type(json_job_id(job))


@given(st.integers(0, 2**53 - 1))
def test_a_number_and_its_digits_are_one_job(number: int) -> None:
    assert read_job_id(number) == read_job_id(str(number)) == str(number)
    assert write_job_id(str(number)) == str(number).encode()
