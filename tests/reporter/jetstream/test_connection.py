"""A connection that never gives up, and says when it is up."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from milepost_bridge.settings import BridgeSettings
from milepost_reporter.jetstream.complaints import Complaints
from milepost_reporter.jetstream.connection import Connection, backoff

from milepost.nats_server import NatsServer
from tests.bridge.bare_publisher import BarePublisher
from tests.waiting import eventually_async

IMPATIENT = {"ping_interval": 0.2, "connect_timeout": 0.5, "reconnect_wait": 0.05, "reconnect_wait_max": 0.2}


class Line:
    """A connection and what came of it."""

    def __init__(self, url: str, **settings: object) -> None:
        self.messages: list[bytes] = []
        self.changes: list[bool] = []
        self.connection = Connection(
            [url],
            BridgeSettings.model_validate(IMPATIENT | settings),
            lambda subject, payload, headers, reply: self.messages.append(payload),
            lambda: self.changes.append(self.connection.up),
            Complaints(logging.getLogger("milepost_bridge")),
        )

    async def has(self, count: int) -> None:
        await eventually_async(lambda: len(self.messages) == count)


@contextlib.asynccontextmanager
async def line(url: str, **settings: object) -> AsyncIterator[Line]:
    it = Line(url, **settings)
    it.connection.start()
    try:
        yield it
    finally:
        await it.connection.close()


async def up(it: Line) -> None:
    await eventually_async(lambda: it.connection.up)


async def test_a_wanted_subject_arrives_once_its_future_is_done(shared_nats: NatsServer) -> None:
    """What is published after that is not missed."""
    async with line(shared_nats.url) as it:
        await up(it)
        with BarePublisher(shared_nats.port) as publisher:
            for number in range(20):
                waiting = it.connection.want(f"line{number}.>")
                assert waiting is not None
                await waiting
                publisher.publish(b"line%d.x" % number, b"%d" % number)
        await eventually_async(lambda: len(it.messages) == 20)
        assert it.connection.want("line1.>") is None


async def test_many_subjects_wanted_at_once_all_arrive(shared_nats: NatsServer) -> None:
    """A thousand tenants take one round trip to the server."""
    async with line(shared_nats.url) as it:
        await up(it)
        waiting = [it.connection.want(f"many.{number}") for number in range(1000)]
        await asyncio.gather(*filter(None, waiting))
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(b"many.999", b"last")
        await eventually_async(lambda: it.messages == [b"last"])


async def test_an_unwanted_subject_arrives_no_more(shared_nats: NatsServer) -> None:
    """Who waited for it waits no longer, and wanting it again works."""
    async with line(shared_nats.url) as it:
        await up(it)
        waiting = it.connection.want("gone.>")
        it.connection.unwant("gone.>")
        assert waiting is not None
        await waiting
        other = it.connection.want("stays.>")
        assert other is not None
        await other
        with BarePublisher(shared_nats.port) as publisher:
            publisher.publish(b"gone.x", b"gone")
            publisher.publish(b"stays.x", b"stays")
            await eventually_async(lambda: it.messages)
            again = it.connection.want("gone.>")
            if again is not None:
                await again
            publisher.publish(b"gone.x", b"back")
        await eventually_async(lambda: len(it.messages) == 2)
        assert it.messages == [b"stays", b"back"]


async def test_a_server_that_is_away_at_the_start_is_waited_for(nats_server: NatsServer) -> None:
    """Nothing blocks, and what was wanted meanwhile is subscribed when it comes."""
    nats_server.kill()
    async with line(nats_server.url) as it:
        waiting = it.connection.want("late.>")
        assert waiting is not None
        assert waiting.done()
        nats_server.start()
        await up(it)
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"late.x", b"here")
        await eventually_async(lambda: it.messages == [b"here"])
    assert it.changes == [True, False]


async def test_kills_and_restarts_are_told_and_survived(nats_server: NatsServer) -> None:
    """Down and up each time, and every time the subjects arrive again."""
    async with line(nats_server.url) as it:
        it.connection.want("again.>")
        await up(it)
        for life in range(3):
            nats_server.kill()
            await eventually_async(lambda: not it.connection.up)
            nats_server.start()
            await up(it)
            with BarePublisher(nats_server.port) as publisher:
                publisher.publish(b"again.x", b"%d" % life)
            await it.has(life + 1)
        assert it.changes == [True, False] * 3 + [True]
        assert it.connection.connections == 4


async def test_a_server_that_hangs_is_noticed_and_taken_up_again(nats_server: NatsServer) -> None:
    """SIGSTOP: no answer to pings, nor to new connections, until SIGCONT."""
    async with line(nats_server.url) as it:
        it.connection.want("hang.>")
        await up(it)
        nats_server.pause()
        await eventually_async(lambda: not it.connection.up)
        waiting = it.connection.want("meanwhile.>")
        assert waiting is not None
        assert waiting.done()
        nats_server.resume()
        await up(it)
        with BarePublisher(nats_server.port) as publisher:
            publisher.publish(b"hang.x", b"1")
            publisher.publish(b"meanwhile.x", b"2")
        await eventually_async(lambda: it.messages == [b"1", b"2"])


async def test_who_waits_when_the_server_hangs_is_let_go(nats_server: NatsServer) -> None:
    """A future is done at the latest when the connection is given up."""
    async with line(nats_server.url) as it:
        await up(it)
        nats_server.pause()
        waiting = it.connection.want("never.>")
        assert waiting is not None
        assert not waiting.done()
        await waiting
        assert not it.connection.up
        nats_server.resume()


async def test_closing_does_not_wait_for_a_server_that_hangs(nats_server: NatsServer) -> None:
    """And nobody is left waiting."""
    it = Line(nats_server.url)
    it.connection.start()
    await up(it)
    nats_server.pause()
    waiting = it.connection.want("never.>")
    assert waiting is not None
    await it.connection.close()
    assert waiting.done()
    assert it.changes == [True, False]
    nats_server.resume()


async def test_a_wrong_password_is_told_and_the_right_server_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the reason; when the server takes the password, all is well."""
    config = tmp_path / "users.conf"
    config.write_text('authorization { user: hub, password: "other" }\n')
    with NatsServer(config=config) as server:
        async with line(server.url, user="hub", password="secret") as it:
            await eventually_async(lambda: "Authorization Violation" in caplog.text)
            assert not it.connection.up
            server.kill()
            config.write_text('authorization { user: hub, password: "secret" }\n')
            server.start()
            await up(it)
    assert "secret" not in caplog.text


async def test_a_token_opens_the_door(tmp_path: Path) -> None:
    """As an alternative to user and password."""
    config = tmp_path / "token.conf"
    config.write_text('authorization { token: "s3cret" }\n')
    with NatsServer(config=config) as server:
        async with line(server.url, token="s3cret") as it:
            await up(it)


async def test_a_refused_subscription_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Permissions that do not fit are in the log, not a silence."""
    config = tmp_path / "permissions.conf"
    config.write_text("authorization { users: [{user: a, password: b, permissions: {subscribe: [mine]}}] }\n")
    with NatsServer(config=config) as server:
        async with line(server.url, user="a", password="b") as it:
            it.connection.want("theirs.>")
            await eventually_async(lambda: "permissions violation" in caplog.text)
            await up(it)


async def test_it_publishes_while_it_is_connected(nats_server: NatsServer) -> None:
    """It says what the server is, and takes nothing while there is none."""
    async with line(nats_server.url) as it:
        assert not it.connection.publish("out.x", b"early")
        assert it.connection.server_info == {}
        it.connection.want("out.>")
        await up(it)
        assert it.connection.server_info["jetstream"] is True
        assert it.connection.publish("out.x", b"1", "re.ply", {"A": "b"})
        await it.has(1)
        nats_server.kill()
        await eventually_async(lambda: not it.connection.up)
        assert not it.connection.publish("out.x", b"late")
        assert it.connection.server_info == {}
    assert it.messages == [b"1"]


async def test_tls_with_a_private_authority(tmp_path: Path) -> None:
    """`ca` trusts the server's certificate and nothing else does."""
    write_certificate(tmp_path)
    config = tmp_path / "tls.conf"
    config.write_text(f'tls {{ cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem" }}\n')
    with NatsServer(config=config) as server:
        url = server.url.replace("nats:", "tls:")
        async with line(url, ca=str(tmp_path / "cert.pem")) as it:
            it.connection.want("tls.>")
            await up(it)
            server.restart()
            await eventually_async(lambda: it.changes == [True, False, True])


async def test_asking_for_tls_never_talks_in_the_clear(
    shared_nats: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that offers none is no server."""
    write_certificate(tmp_path)
    async with line(shared_nats.url, ca=str(tmp_path / "cert.pem"), token="secret") as it:
        await eventually_async(lambda: "no TLS" in caplog.text)
        assert not it.connection.up


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "milepost test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_pauses_grow_to_a_bound_and_differ(failures: int, chance: float) -> None:
    """Never none, never longer than the setting, and chance spreads many bridges apart."""
    settings = BridgeSettings(reconnect_wait=0.2, reconnect_wait_max=2.0)
    pause = backoff(failures, settings, chance)
    assert 0.1 <= pause <= 2.0
    assert backoff(failures, settings, 0) <= pause <= backoff(failures, settings, 1)
    assert pause <= backoff(failures + 1, settings, chance)


async def test_it_ends_whenever_it_is_told_to(shared_nats: NatsServer) -> None:
    """Also in the middle of connecting, where nats-py can swallow a cancellation: without a second one it hangs."""
    for turns in range(120):
        it = Line(shared_nats.url)
        it.connection.want("tenant.acme.job.*.>")
        it.connection.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        await it.connection.close()
        assert not it.connection.up
