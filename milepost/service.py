"""What commands that serve have in common: the address, the signals, the loop, and saying that they are up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Final

from milepost.errors import CommandError

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def listen(host: str, port: int, *, options: str = "--") -> Iterator[socket.socket]:
    """A bound socket, so that an address that is taken is told before anything else is started.

    options: how the command's two for it begin.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CommandError(f"{options}host {host}: {error.strerror}; give an address of this machine") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            why = f"cannot listen on {host} port {port}: {error.strerror}"
            raise CommandError(f"{why}; give another {options}port (0 takes a free one)") from error
        yield listener


def url_of(listener: socket.socket) -> str:
    """Where clients of this machine reach the listener."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(lines: str) -> None:
    """On standard output, at once."""
    sys.stdout.write(f"{lines}\n")
    sys.stdout.flush()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one."""
    try:
        import uvloop
    except ImportError:  # no uvloop on Windows and PyPy
        return None
    return uvloop.new_event_loop
