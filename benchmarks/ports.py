"""Ports on loopback: a free one, and waiting until somebody listens there."""

from __future__ import annotations

import socket
import time

from benchmarks.child import Child, ChildFailedError


def free_port() -> int:
    """A port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for_listener(child: Child, port: int, timeout: float = 20.0) -> None:
    """Return when something accepts connections at the port; ChildFailedError when the child ends first."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if not child.running or time.monotonic() > deadline:
                raise ChildFailedError(child.name, "ended", f"does not listen; {child.log_tail()}") from None
            time.sleep(0.02)
        else:
            return
