"""What a process holds of the machine, before and after."""

from __future__ import annotations

from typing import Final, NamedTuple

import psutil

MIB: Final = 1024 * 1024

COMPLAINTS: Final = (
    "Traceback (most recent call last)",
    "was never retrieved",
    "was destroyed but it is pending",
    "was never awaited",
    "ResourceWarning",
)
"""What asyncio and Python say of a task that failed unheard or was left behind."""


class Footprint(NamedTuple):
    """Counts of one process at one moment; memory in bytes."""

    descriptors: int
    connections: int
    threads: int
    memory: int


def footprint(pid: int) -> Footprint:
    """What this process holds now."""
    process = psutil.Process(pid)
    with process.oneshot():
        return Footprint(
            process.num_fds(),
            sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections()),
            process.num_threads(),
            process.memory_info().rss,
        )


def leaked(before: Footprint, after: Footprint, memory: int) -> list[str]:
    """In words, what `after` holds beyond `before`; memory may have grown by so many bytes."""
    told = []
    for field in ("descriptors", "connections"):
        least, most = getattr(before, field), getattr(after, field)
        if most > least:
            told.append(f"{most - least} {field} more than before ({least} → {most})")
    if after.memory - before.memory > memory:
        grown = (after.memory - before.memory) / MIB
        told.append(f"memory grew by {grown:.0f} MiB, more than {memory / MIB:.0f}")
    return told


def complaints(log: str) -> list[str]:
    """Lines of a log that speak of what was left behind, each with the last line of its traceback."""
    lines = log.splitlines()
    return [_with_end(lines, place) for place, line in enumerate(lines) if any(word in line for word in COMPLAINTS)]


def _with_end(lines: list[str], place: int) -> str:
    for line in lines[place + 1 :]:
        if line and not line.startswith((" ", "\t")):
            return f"{lines[place].strip()} … {line.strip()}"
    return lines[place].strip()
