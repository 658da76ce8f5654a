"""What differs from run to run is left out, and nothing else."""

from __future__ import annotations

import pytest

from tests.docs.printed import masked, printed


def test_ids_and_numbers_are_left_out() -> None:
    assert masked("job nightly-5f0c3a9e: 12 rows in 1.5s") == masked("job nightly-00aa11bb:  7 rows in 12.25s")
    assert masked("3d813cbb-47fb-32ba-91df-831e1593ac29 done") == ["# done"]


def test_words_are_not() -> None:
    assert masked("completed") != masked("failed")
    assert masked("one\ntwo") != masked("two\none")


def test_a_page_that_shows_nothing_is_told() -> None:
    with pytest.raises(AssertionError, match=r"docs/cli\.md does not show what `nobody` prints"):
        printed("cli.md", "nobody")
