"""The public keys of a provider: cached, renewed in the background, and fetched at most once in an interval.

A token with an unknown key causes one request, and a thousand of them cause one request as well. Cached keys are valid
for at most a day while the provider is not available.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt

from stacflask import BadCredentials, Unavailable

from .http import CODE, UNAVAILABLE, Declined, Web
from .settings import ALGORITHMS

FETCH_INTERVAL_SECONDS = 10.0  # shortest time between two requests for keys
RENEW_AFTER_SECONDS = 3600.0
MAX_AGE_SECONDS = 86400.0
WAIT_SECONDS = 0.5  # for a request of another thread
MIN_RSA_BITS = 2048

log = logging.getLogger(__name__)


def in_background(work: Callable[[], None]) -> None:
    """Run a function in a thread."""
    threading.Thread(target=work, daemon=True).start()


@dataclass
class ProviderKeys:
    """The keys of one provider in this process, by id and algorithm."""

    web: Web
    algorithms: Sequence[str]
    clock: Callable[[], float] = time.monotonic
    run: Callable[[Callable[[], None]], None] = in_background
    _keys: Mapping[tuple[str | None, str], list[jwt.PyJWK]] = field(default_factory=dict)
    _fetched: float = -MAX_AGE_SECONDS
    _tried: float = -FETCH_INTERVAL_SECONDS
    _failed: bool = False
    _fetching: threading.Lock = field(default_factory=threading.Lock)

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key of a token. Raises BadCredentials if there is none, Unavailable if it cannot be fetched."""
        key = self._cached(key_id, algorithm)
        if key is None:
            self._fetch()
            key = self._cached(key_id, algorithm)
        elif self._age() > RENEW_AFTER_SECONDS and self.clock() - self._tried >= FETCH_INTERVAL_SECONDS:
            self.run(self._renew)
        if key is None:
            raise BadCredentials("The token was not signed with a published key of its issuer.")
        return key

    def _age(self) -> float:
        return self.clock() - self._fetched

    def _cached(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        if self._age() > MAX_AGE_SECONDS:
            return None
        keys = self._keys.get((key_id, algorithm), [])
        return keys[0] if len(keys) == 1 else None

    def _fetch(self) -> None:
        """Fetch the keys in one thread at a time, at most once in an interval. Raises Unavailable."""
        if not self._fetching.acquire(timeout=WAIT_SECONDS):
            raise Unavailable("The keys of the identity provider are being fetched. Try again.", retry_after=1)
        try:
            if self.clock() - self._tried >= FETCH_INTERVAL_SECONDS:
                self._tried, self._failed = self.clock(), True
                self._keys = _by_name(_published(self.web), self.algorithms)
                self._fetched, self._failed = self.clock(), False
        finally:
            self._fetching.release()
        if self._failed:
            raise Unavailable(UNAVAILABLE, code=CODE)

    def _renew(self) -> None:
        try:
            self._fetch()
        except Unavailable:
            log.warning("provider keys not renewed", extra={"age_seconds": int(self._age())})


def _published(web: Web) -> list[Any]:
    try:
        keys = web.get(web.endpoint(web.discover(), "jwks_uri")).get("keys")
    except Declined:
        keys = None
    if not isinstance(keys, list):
        log.error("provider keys missing", extra={"url": web.issuer})
        raise Unavailable("The identity provider publishes no keys.", code=CODE)
    return keys


def _by_name(published: Sequence[Any], algorithms: Sequence[str]) -> dict[tuple[str | None, str], list[jwt.PyJWK]]:
    """Return keys by id and algorithm. A token without a key id is accepted only if there is one key."""
    keys: dict[tuple[str | None, str], list[jwt.PyJWK]] = {}
    for one in published:
        for algorithm, key in _usable(one, algorithms):
            keys.setdefault((None, algorithm), []).append(key)
            if isinstance(one.get("kid"), str):
                keys.setdefault((one["kid"], algorithm), []).append(key)
    return keys


def _usable(one: Any, algorithms: Sequence[str]) -> Iterator[tuple[str, jwt.PyJWK]]:
    """Yield a published key for each algorithm that it can verify: of its type, and for signatures (RFC 7517)."""
    if not isinstance(one, dict) or one.get("use", "sig") != "sig":
        return
    for algorithm in algorithms:
        kind, curve = ALGORITHMS[algorithm]
        fits = one.get("kty") == kind and curve in (None, one.get("crv")) and one.get("alg", algorithm) == algorithm
        key = _parsed(one, algorithm) if fits else None
        if key is not None:
            yield algorithm, key


def _parsed(one: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    public = {name: value for name, value in one.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
    try:
        key = jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        log.warning("provider key malformed", extra={"kid": one.get("kid")})
        return None
    if one["kty"] == "RSA" and key.key.key_size < MIN_RSA_BITS:
        log.warning("provider key too weak", extra={"kid": one.get("kid")})
        return None
    return key
