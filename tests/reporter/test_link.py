"""What the link writes to NATS."""

from milepost_reporter import Reporter

from milepost.nats_server import NatsServer
from tests.reporter.relay import Relay
from tests.waiting import eventually


def test_a_ping_stands_behind_everything_its_pong_confirms(shared_nats: NatsServer) -> None:
    """nats-py would write it past what it has queued, and a PONG would confirm what was never sent."""
    with Relay(shared_nats.port) as relay:
        job = Reporter(nats_url=relay.url, tenant="acme", job=1, ping_interval=3_600)
        for burst in range(1, 6):
            for number in range(300):
                job.log(f"line {number}")
            eventually(lambda burst=burst: job.stats.confirmed == 300 * burst)  # type: ignore[misc]
            seen = bytes(relay.sent)
            assert seen.count(b"HPUB ") == 300 * burst
            assert seen.rindex(b"PING\r\n") > seen.rindex(b"HPUB ")
        job.close()


def test_it_connects_once_and_subscribes_to_nothing(shared_nats: NatsServer) -> None:
    """So a job's account needs no more than leave to publish."""
    with Relay(shared_nats.port) as relay:
        with Reporter(nats_url=relay.url, tenant="acme", job=1) as job:
            job.log("x")
        assert relay.sent.count(b"CONNECT ") == job.stats.connections == 1
        assert b"SUB " not in relay.sent
