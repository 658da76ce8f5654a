"""A block that does not do what its page says is noticed."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.docs.block import Block
from tests.docs.surroundings import Surroundings, run_bash, run_python
from tests.waiting import eventually


def block(language: str, text: str) -> Block:
    return Block("page.md", 7, (language,), None, text)


def test_a_traceback_tells_the_line_of_the_page(around: Surroundings, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:7 ended with 1(?s:.*)line 9"):
        run_python(block("python", "a = 1\nraise SystemError\n"), tmp_path, around.environment("1"))


def test_a_warning_fails_a_block(around: Surroundings, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="DeprecationWarning"):
        run_python(
            block("python", "import warnings\nwarnings.warn('old', DeprecationWarning)\n"),
            tmp_path,
            around.environment("1"),
        )


@pytest.mark.parametrize("text", ["false\ntrue\n", "false | true\n", "echo $NOT_THERE\n"])
def test_a_command_that_fails_anywhere_fails_the_block(around: Surroundings, tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:7 ended with 1"):
        run_bash(block("bash", text), tmp_path, around.environment("1"))


def test_what_a_block_leaves_in_the_background_is_ended(around: Surroundings, tmp_path: Path) -> None:
    started = "sleep 1000 >/dev/null 2>&1 &\necho $! > pid\n"
    run_bash(block("bash", started), tmp_path, around.environment("1"))
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not _runs(pid))


def test_commands_find_the_checkouts_files_and_programs(around: Surroundings, tmp_path: Path) -> None:
    text = 'test -f docker-compose.yml\ntest -f docker/nats.conf\nmilepost token --job "$MILEPOST_JOB" >token\n'
    run_bash(block("bash", text), tmp_path, around.environment("1"))
    assert (tmp_path / "token").read_text().count(".") == 2


def _runs(pid: int) -> bool:
    """Whether the process is there; one that has ended may still wait for somebody to ask."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
