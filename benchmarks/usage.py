"""What a process and its children use, as the kernel counts it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import psutil

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living children so far; steps of 10 ms."""
    return sum(_own_cpu_seconds(each) for each in _family(pid))


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process and its living children (/proc/<pid>/smaps_rollup)."""
    return sum(_own_pss_bytes(each) for each in _family(pid))


def busy_seconds() -> float:
    """CPU seconds of the whole machine so far, taken by anybody; the hypervisor's share is in it too."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


def wait_for_quiet(most: float, patience: float) -> None:
    """Return when the machine used fewer than `most` cores for half a second, or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before, start = busy_seconds(), time.monotonic()
        time.sleep(0.5)
        if (busy_seconds() - before) / (time.monotonic() - start) < most:
            return


def _family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _own_cpu_seconds(pid: int) -> float:
    # the name in the second field may hold spaces and brackets
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _own_pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no Pss line for process {pid}")
