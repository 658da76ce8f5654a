"""A port on loopback for a server that is killed and has to come back at the same place."""

from __future__ import annotations

import itertools
import os
import socket
from typing import Final

# Below the range from which the kernel takes ports of outgoing connections, one of which could have it by then.
_FIRST: Final = 20_000
_COUNT: Final = 10_000
_turn: Final = itertools.count(os.getpid())


def free_port() -> int:
    """One that nobody listens on, and not given out before."""
    while True:
        port = _FIRST + next(_turn) * 7 % _COUNT
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
