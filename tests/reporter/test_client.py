"""No secret goes to a server without TLS when TLS was asked for."""

from __future__ import annotations

import logging

import pytest
from milepost_reporter import Reporter
from milepost_reporter.client import SecureClient
from nats.errors import Error

from milepost.nats_server import NatsServer
from tests.waiting import eventually


@pytest.mark.parametrize("tls", [True, False])
async def test_a_server_without_tls_is_refused_when_it_was_asked_for(shared_nats: NatsServer, tls: bool) -> None:
    client = SecureClient(tls=tls)
    if tls:
        with pytest.raises(Error, match="no TLS"):
            await client.connect(shared_nats.url, allow_reconnect=False, token="secret")
    else:
        await client.connect(shared_nats.url, allow_reconnect=False)
        assert client.is_connected
    await client.close()


def test_a_reporter_asked_for_tls_says_why_it_is_away(
    shared_nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The scheme of the URL is enough to ask for it; the job goes on."""
    url = shared_nats.url.replace("nats://", "tls://")
    with caplog.at_level(logging.WARNING), Reporter(nats_url=url, tenant="tls", job="1", password="secret", user="u"):
        eventually(lambda: "offers no TLS" in caplog.text)
    assert "offers no TLS" in caplog.text
