"""Keys are fetched, rotated and kept through outages, and no stranger can make the hub fetch often."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from milepost_hub.errors import KeyConfigError, KeysNotReady, TokenError
from milepost_hub.keys import KeySource
from milepost_hub.token import Verifier

from tests.hub.jwks_server import JwksServer
from tests.hub.signers import SECRET, Signer, ec_signer, ed_signer, key_set, rsa_signer

OLD, NEW = ec_signer("2023"), ed_signer("2024")
NEVER = 3600.0
"""Longer than any test: what happens at that pace does not happen in one."""


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer(key_set(OLD)) as server:
        yield server


def verdict(keys: KeySource, token: str) -> str:
    """The code of the refusal, or `accepted`."""
    try:
        Verifier(keys).verify(token)
    except KeysNotReady:
        return "not ready"
    except TokenError as error:
        return error.code
    return "accepted"


async def verdict_after_refresh(keys: KeySource, token: str) -> str:
    """As a caller goes about it: when the keys are not ready, refresh and verify once more."""
    first = verdict(keys, token)
    if first != "not ready":
        return first
    await keys.refresh()
    return verdict(keys, token)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


# A key set behind a URL


async def test_a_key_set_is_fetched_before_the_first_token(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url]) as keys:
        assert verdict(keys, OLD.token()) == "accepted"
        assert verdict(keys, OLD.token(None)) == "accepted"
        assert server.requests == 1


async def test_a_new_kid_is_asked_for_and_the_withdrawn_one_ends(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, cooldown=0) as keys:
        server.body = key_set(NEW)
        assert verdict(keys, NEW.token()) == "not ready"
        assert await verdict_after_refresh(keys, NEW.token()) == "accepted"
        assert await verdict_after_refresh(keys, OLD.token()) != "accepted"


async def test_keys_are_renewed_though_nobody_asks(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=0.02, cooldown=NEVER) as keys:
        server.body = key_set(OLD, NEW)
        await until(lambda: verdict(keys, NEW.token()) == "accepted")
        server.body = key_set(NEW)
        await until(lambda: verdict(keys, OLD.token()) == "unknown_key")


async def test_a_wrong_signature_under_a_known_kid_asks_nobody(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, cooldown=0) as keys:
        impostor = Signer(ec_signer("impostor").private, "ES256", OLD.kid)
        assert verdict(keys, impostor.token()) == "bad_signature"
        assert server.requests == 1


# Floods


async def test_a_flood_of_unknown_kids_causes_one_fetch_a_cooldown(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, cooldown=NEVER) as keys:
        tokens = [OLD.token(f"made-up-{number}") for number in range(200)]
        verdicts = await asyncio.gather(*(verdict_after_refresh(keys, token) for token in tokens))
        assert set(verdicts) == {"unknown_key"}
        await asyncio.gather(*(keys.refresh() for _ in range(200)))
        assert server.requests == 1


async def test_a_flood_while_the_server_is_away_asks_no_more_often() -> None:
    with JwksServer(b"nothing of use") as server:
        async with KeySource(jwks_urls=[server.url], retry_after=NEVER, cooldown=NEVER) as keys:
            tokens = [OLD.token(f"made-up-{number}") for number in range(200)]
            verdicts = await asyncio.gather(*(verdict_after_refresh(keys, token) for token in tokens))
            assert set(verdicts) == {"keys_unavailable"}
            assert server.requests == 1


async def test_all_who_ask_during_a_fetch_share_it(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, cooldown=0) as keys:
        server.body = key_set(NEW)
        server.gate.clear()
        server.asked.clear()
        waiting = [asyncio.create_task(verdict_after_refresh(keys, NEW.token())) for _ in range(100)]
        await until(server.asked.is_set)
        late = asyncio.create_task(verdict_after_refresh(keys, NEW.token()))
        await asyncio.sleep(0)
        server.gate.set()
        assert set(await asyncio.gather(*waiting, late)) == {"accepted"}
        assert server.requests == 2


async def test_one_who_leaves_does_not_end_the_fetch_for_the_others(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, cooldown=0) as keys:
        server.body = key_set(NEW)
        server.gate.clear()
        server.asked.clear()
        leaver = asyncio.create_task(keys.refresh())
        stayer = asyncio.create_task(keys.refresh())
        await until(server.asked.is_set)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        server.gate.set()
        await stayer
        assert verdict(keys, NEW.token()) == "accepted"
        assert server.requests == 2


async def test_a_flood_of_forged_secret_tokens_asks_nobody(server: JwksServer) -> None:
    async with KeySource(secrets=[SECRET], jwks_urls=[server.url], lifetime=NEVER, cooldown=0) as keys:
        forged = OLD.token().split(".")
        assert verdict(keys, f"eyJhbGciOiJIUzI1NiIsImtpZCI6IngifQ.{forged[1]}.{forged[2]}") == "bad_signature"
        assert verdict(keys, f"eyJhbGciOiJub25lIn0.{forged[1]}.") == "bad_algorithm"
        assert server.requests == 1


# Outages


async def test_the_hub_starts_without_the_server_and_has_its_keys_once_it_is_back(
    server: JwksServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.down()
    try:
        async with KeySource(jwks_urls=[server.url], retry_after=0.02, cooldown=NEVER) as keys:
            assert verdict(keys, OLD.token()) == "keys_unavailable"
            server.up()
            await until(lambda: verdict(keys, OLD.token()) == "accepted")
    except BaseException:
        server.up()
        raise
    assert "tokens that need it are refused" in caplog.text


async def test_an_outage_leaves_the_keys_in_force_and_is_told_once(
    server: JwksServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, retry_after=NEVER, cooldown=0) as keys:
        server.down()
        for _ in range(5):
            await keys.refresh()
            assert verdict(keys, OLD.token()) == "accepted"
        server.body = key_set(NEW)
        server.up()
        assert await verdict_after_refresh(keys, NEW.token()) == "accepted"
    told = [record.getMessage() for record in caplog.records if record.name == "milepost_hub.keys"]
    assert [message.partition(server.url)[0] for message in told] == ["keys: cannot read ", "keys: "]
    assert "stay in force" in told[0]
    assert "can be read again" in told[1]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (404, b"not here"),
        (200, b""),
        (200, b"<html>sign in, please</html>"),
        (200, b"[]"),
        (200, b'{"keys":[]}'),
        (200, b'{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"2023"}]}'),
        (200, b"[" * 100_000),
        (200, b"\xff\xfe"),
    ],
    ids=ascii,
)
async def test_an_answer_of_no_use_leaves_the_keys_in_force(server: JwksServer, status: int, body: bytes) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, retry_after=NEVER, cooldown=0) as keys:
        server.status, server.body = status, body
        await keys.refresh()
        assert server.requests == 2
        assert verdict(keys, OLD.token()) == "accepted"


async def test_a_redirect_is_not_followed(server: JwksServer) -> None:
    """Whoever can answer in the server's name for a moment must not be able to send the hub elsewhere."""
    with JwksServer(key_set(NEW)) as elsewhere:
        async with KeySource(jwks_urls=[server.url], lifetime=NEVER, retry_after=NEVER, cooldown=0) as keys:
            server.status, server.headers = 302, {"Location": elsewhere.url}
            await keys.refresh()
            assert elsewhere.requests == 0
            assert verdict(keys, OLD.token()) == "accepted"


# Silence meets the socket's bound or that of the whole answer, which are the same: whichever is seen first.
@pytest.mark.parametrize(("drip", "reason"), [(False, r"timed out|took too long"), (True, "took too long")])
async def test_a_server_that_never_finishes_is_given_up(
    server: JwksServer, drip: bool, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, cooldown=0, fetch_timeout=0.2) as keys:
        server.gate.clear()
        server.drip = drip
        await asyncio.wait_for(keys.refresh(), 20)
        assert not server.gate.is_set()
        assert verdict(keys, OLD.token()) == "accepted"
        server.gate.set()
    assert re.search(reason, caplog.text)


async def test_closing_does_not_wait_for_a_fetch_under_way(server: JwksServer) -> None:
    async with KeySource(jwks_urls=[server.url], lifetime=NEVER, cooldown=0, fetch_timeout=60) as keys:
        server.gate.clear()
        server.asked.clear()
        asking = asyncio.create_task(keys.refresh())
        await until(server.asked.is_set)
    assert not server.gate.is_set()
    await asking
    assert asyncio.all_tasks() == {asyncio.current_task()}
    server.gate.set()


# Files


@pytest.mark.parametrize("form", ["pem", "jwks"])
async def test_a_file_replaced_on_disk_is_read_when_a_token_needs_it(tmp_path: Path, form: str) -> None:
    keys, write = file_source(tmp_path, form, file_lifetime=NEVER, file_cooldown=0)
    async with keys:
        assert verdict(keys, OLD.token()) == "accepted"
        write(NEW)
        assert verdict(keys, OLD.token()) == "accepted"
        assert await verdict_after_refresh(keys, NEW.token()) == "accepted"
        assert await verdict_after_refresh(keys, OLD.token()) != "accepted"


@pytest.mark.parametrize("form", ["pem", "jwks"])
async def test_a_file_replaced_on_disk_is_read_though_no_token_needs_it(tmp_path: Path, form: str) -> None:
    keys, write = file_source(tmp_path, form, file_lifetime=0.02, file_cooldown=NEVER)
    async with keys:
        write(NEW)
        await until(lambda: verdict(keys, OLD.token()) != "accepted")
        assert verdict(keys, NEW.token()) == "accepted"


@pytest.mark.parametrize("form", ["pem", "jwks"])
async def test_a_file_half_written_or_gone_leaves_the_keys_in_force(tmp_path: Path, form: str) -> None:
    keys, write = file_source(tmp_path, form, file_lifetime=NEVER, file_cooldown=0)
    async with keys:
        path = tmp_path / "keys"
        path.write_bytes(path.read_bytes()[:40])
        await keys.refresh()
        assert verdict(keys, OLD.token()) == "accepted"
        path.unlink()
        await keys.refresh()
        assert verdict(keys, OLD.token()) == "accepted"
        write(NEW)
        assert await verdict_after_refresh(keys, NEW.token()) == "accepted"


def file_source(
    folder: Path, form: str, *, file_lifetime: float, file_cooldown: float
) -> tuple[KeySource, Callable[[Signer], object]]:
    path = folder / "keys"

    def write(signer: Signer) -> None:
        path.write_bytes(signer.pem if form == "pem" else key_set(signer))

    write(OLD)
    files = {"public_key_files": [path]} if form == "pem" else {"jwks_files": [path]}
    return KeySource(**files, file_lifetime=file_lifetime, file_cooldown=file_cooldown), write  # type: ignore[arg-type]


async def test_sources_work_side_by_side(server: JwksServer, tmp_path: Path) -> None:
    (tmp_path / "rsa.pem").write_bytes(rsa_signer().pem)
    (tmp_path / "set.json").write_bytes(key_set(NEW))
    async with KeySource(
        public_key_files=[tmp_path / "rsa.pem"], jwks_files=[tmp_path / "set.json"], jwks_urls=[server.url]
    ) as keys:
        for signer in (OLD, NEW, rsa_signer()):
            assert verdict(keys, signer.token()) == "accepted"


# Configuration


def test_no_source_at_all_is_refused() -> None:
    with pytest.raises(KeyConfigError, match="no keys"):
        KeySource()


@pytest.mark.parametrize("form", ["public_key_files", "jwks_files"])
def test_a_file_that_cannot_be_used_is_named_at_start(tmp_path: Path, form: str) -> None:
    path = tmp_path / "keys"
    with pytest.raises(KeyConfigError, match=f"{path}: No such file"):
        KeySource(**{form: [path]})  # type: ignore[arg-type]
    path.write_text("hello")
    with pytest.raises(KeyConfigError, match=f"{path}: it "):
        KeySource(**{form: [path]})  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://id.example/keys", "id.example/keys", "", "http://[oops"])
def test_only_web_addresses_are_fetched(url: str) -> None:
    with pytest.raises(KeyConfigError):
        KeySource(jwks_urls=[url])


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://id.example/keys", True),
        ("https://id.example/keys", False),
        ("http://127.0.0.1/keys", False),
        ("http://localhost:8080/keys", False),
        ("http://[::1]/keys", False),
    ],
)
def test_keys_over_an_open_wire_are_warned_about(url: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    KeySource(jwks_urls=[url])
    assert ("not https" in caplog.text) == warned
