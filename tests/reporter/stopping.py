"""SIGSTOP, and the wait until it has taken hold: on a busy machine some threads run on for a moment."""

from pathlib import Path

from milepost.nats_server import NatsServer
from tests.waiting import eventually


def stop(server: NatsServer) -> None:
    """Pause the server, and return when none of its threads runs any more."""
    server.pause()
    threads = Path(f"/proc/{server.pid}/task")
    eventually(lambda: all(_state(thread) == "T" for thread in threads.iterdir()))


def _state(thread: Path) -> str:
    # the name before it is in parentheses and may hold anything
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]
