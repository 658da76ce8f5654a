"""Where verification keys come from: shared secrets, PEM files, JWKS files and JWKS URLs, several at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from jwt import PyJWKClient, PyJWTError

from milepost_hub.errors import KeyConfigError, KeysNotReady, TokenError
from milepost_hub.key import (
    PUBLIC_ALGORITHMS,
    SECRET_ALGORITHM,
    Key,
    from_jwks,
    from_key_set,
    from_pem,
    secret_bytes,
)

logger = logging.getLogger(__name__)


class KeySource:
    """All keys the hub trusts, kept up to date while it is entered (`async with`, or `start` and `close`).

    A secret is text of 32 or more bytes; a PEM file holds one or more public keys (RSA, P-256 or Ed25519).
    Files are read again every `file_lifetime` seconds, URLs every `lifetime`, after a failure `retry_after`.
    `refresh` does so at once, but no sooner than `file_cooldown` or `cooldown` seconds after the last time,
    however many ask. What cannot be read leaves the keys it gave before in force. Silence for `fetch_timeout`
    seconds ends a fetch, and twice that ends one whose answer drips.

    Raises:
        KeyConfigError: there is no source, a secret is too short, a file is of no use, a URL is not http(s).
            A URL that does not answer is no error: the hub starts, and asks again.
    """

    def __init__(
        self,
        *,
        secrets: Sequence[str] = (),
        public_key_files: Sequence[Path] = (),
        jwks_files: Sequence[Path] = (),
        jwks_urls: Sequence[str] = (),
        lifetime: float = 300.0,
        cooldown: float = 10.0,
        retry_after: float = 15.0,
        file_lifetime: float = 5.0,
        file_cooldown: float = 1.0,
        fetch_timeout: float = 5.0,
    ) -> None:
        readers = [(path, from_pem) for path in public_key_files] + [(path, from_jwks) for path in jwks_files]
        self._secrets = [Key(secret_bytes(secret), SECRET_ALGORITHM) for secret in secrets]
        self._files = [
            _Source(
                str(path),
                _reader(path, parse),
                lifetime=file_lifetime,
                retry_after=file_lifetime,
                cooldown=file_cooldown,
                timeout=2 * fetch_timeout,
            )
            for path, parse in readers
        ]
        self._urls = [
            _Source(
                url,
                _fetcher(url, fetch_timeout),
                lifetime=lifetime,
                retry_after=retry_after,
                cooldown=cooldown,
                timeout=2 * fetch_timeout,
            )
            for url in jwks_urls
        ]
        self._sources = self._files + self._urls
        if not (self._secrets or self._sources):
            raise KeyConfigError("no keys: give a secret, a public key file or a key set, to verify tokens with")
        self._algorithms = (SECRET_ALGORITHM,) * bool(secrets) + PUBLIC_ALGORITHMS * bool(self._sources)
        self._tasks: list[asyncio.Task[None]] = []
        for source in self._files:
            source.load_now()

    async def __aenter__(self) -> KeySource:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Fetch the URLs for the first time, then keep everything up to date in the background."""
        await asyncio.gather(*(source.refresh() for source in self._urls))
        self._tasks = [asyncio.create_task(source.keep_fresh()) for source in self._sources]

    async def close(self) -> None:
        """End the background work; the keys stay as they are."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(source.close() for source in self._sources), return_exceptions=True)

    async def refresh(self) -> None:
        """Read again what may have newer keys. Never raises; all who ask during a fetch wait for that one."""
        await asyncio.gather(*(source.refresh() for source in self._sources if source.may_refresh))

    def find(self, algorithm: str, kid: str | None) -> list[Key]:
        """The keys to try on a token with this header: often one, none when nothing fits."""
        if algorithm == SECRET_ALGORITHM:
            return self._secrets
        return [key for source in self._sources for key in source.keys if key.serves(algorithm, kid)]

    def refusal(self, algorithm: str, kid: str | None) -> TokenError:
        """Why nothing that `find` gives verifies a token: KeysNotReady when there may be newer keys."""
        if algorithm not in self._algorithms:
            accepted = ", ".join(self._algorithms)
            return TokenError("bad_algorithm", f"The token's algorithm is not accepted here; use {accepted}.")
        tried = self.find(algorithm, kid)
        named = kid is not None and any(key.kid == kid for key in tried)
        if algorithm == SECRET_ALGORITHM or named:
            return _bad_signature()
        if any(source.may_refresh for source in self._sources):
            return KeysNotReady("keys_unavailable", "The keys are being fetched: try again in a moment.")
        if tried:
            return _bad_signature()
        if not all(source.loaded for source in self._sources):
            return TokenError("keys_unavailable", "The hub cannot fetch the keys just now: try again later.")
        return TokenError("unknown_key", "The token's key is not known here: check who issued the token.")


class _Source:
    """One file or URL: its keys as last read, and when it may be read again."""

    def __init__(
        self,
        name: str,
        load: Callable[[], tuple[Key, ...]],
        *,
        lifetime: float,
        retry_after: float,
        cooldown: float,
        timeout: float,
    ) -> None:
        self.keys: tuple[Key, ...] = ()
        self.loaded = False
        self._name = name
        self._load = load
        self._lifetime = lifetime
        self._retry_after = retry_after
        self._cooldown = cooldown
        self._timeout = timeout
        self._attempted = float("-inf")
        self._failing = False
        # The attempt under way, shared by everybody who asks meanwhile.
        self._flight: asyncio.Task[None] | None = None

    @property
    def may_refresh(self) -> bool:
        return self._flight is not None or time.monotonic() - self._attempted >= self._cooldown

    def load_now(self) -> None:
        self._attempted = time.monotonic()
        try:
            self._accept(self._load())
        except KeyConfigError as error:
            raise KeyConfigError(f"{self._name}: {error}") from error

    async def refresh(self) -> None:
        if self._flight is None:
            self._flight = asyncio.create_task(self._attempt())
            self._flight.add_done_callback(self._landed)
        # Only waits: one who asked and went away must not end it for the others.
        await asyncio.wait([self._flight])

    async def keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._retry_after if self._failing else self._lifetime)
            await self.refresh()

    async def close(self) -> None:
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    def _landed(self, _: asyncio.Task[None]) -> None:
        self._flight = None

    async def _attempt(self) -> None:
        self._attempted = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                keys = await asyncio.to_thread(self._load)
        except Exception as error:  # whatever an answer makes a library raise, the old keys stay
            self._fail(error)
        else:
            self._accept(keys)

    def _accept(self, keys: tuple[Key, ...]) -> None:
        if self._failing:
            logger.info("keys: %s can be read again", self._name)
        self.keys, self.loaded, self._failing = keys, True, False

    def _fail(self, error: Exception) -> None:
        if not self._failing:  # once an outage, not once an attempt
            outcome = "its last keys stay in force" if self.loaded else "tokens that need it are refused"
            reason = str(error) or "it took too long"
            logger.warning("keys: cannot read %s (%s); %s", self._name, reason, outcome)
        self._failing = True


def _reader(path: Path, parse: Callable[[bytes], tuple[Key, ...]]) -> Callable[[], tuple[Key, ...]]:
    def read() -> tuple[Key, ...]:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise KeyConfigError(error.strerror or str(error)) from error
        return parse(text)

    return read


def _fetcher(url: str, timeout: float) -> Callable[[], tuple[Key, ...]]:
    try:
        # Without its own cache, which forgets keys when their time is up even if nothing newer can be had.
        # Named, because urllib's own name is refused by some who publish key sets.
        client = PyJWKClient(url, cache_jwk_set=False, headers={"User-Agent": "milepost-hub"}, timeout=timeout)
    except (PyJWTError, ValueError) as error:
        raise KeyConfigError(f"{url}: {error}") from error
    address = urlsplit(url)
    if address.scheme.lower() == "http" and address.hostname not in ("127.0.0.1", "::1", "localhost"):
        logger.warning("keys: %s is not https: whoever can change it on its way can make tokens", url)
    return lambda: from_key_set(client.fetch_data())


def _bad_signature() -> TokenError:
    return TokenError("bad_signature", "The token's signature is wrong: it was changed, or signed with another key.")
