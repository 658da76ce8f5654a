"""What is left behind is found."""

from __future__ import annotations

import os
import socket

from chaos.leaks import MIB, Footprint, complaints, footprint, leaked


def test_an_open_socket_is_found() -> None:
    before = footprint(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        other, _ = server.accept()
        told = leaked(before, footprint(os.getpid()), 64 * MIB)
        client.close()
        other.close()
    assert [line.split()[:2] for line in told] == [["3", "descriptors"], ["2", "connections"]]
    assert leaked(before, footprint(os.getpid()), 64 * MIB) == []


def test_memory_may_grow_so_far() -> None:
    before = Footprint(1, 1, 1, 0)
    assert leaked(before, before._replace(memory=10 * MIB), 10 * MIB) == []
    assert leaked(before, before._replace(memory=11 * MIB), 10 * MIB) == ["memory grew by 11 MiB, more than 10"]


def test_what_asyncio_says_of_forgotten_tasks_is_found() -> None:
    log = (
        "fine\nTask was destroyed but it is pending!\ntask: <Task>\nTraceback (most recent call last):\n  x\nOops: y\n"
    )
    assert complaints(log) == [
        "Task was destroyed but it is pending! … task: <Task>",
        "Traceback (most recent call last): … Oops: y",
    ]
