"""The public keys of a provider: cached, renewed before they are old, and fetched at most once in a while.

A token with a key that nobody knows makes one request, and a thousand of them make one request as well. What is known
goes on working while the provider is away, for a day at most.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt

from plugins.oidc.http import Declined
from plugins.oidc.settings import ALGORITHMS
from stacflask import BadCredentials, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plugins.oidc.http import Web

INTERVAL = 10.0  # seconds from one request for keys to the next, at least
FRESH = 3600.0  # seconds after which keys are renewed, in the background
KEPT = 86400.0  # seconds for which keys are believed that cannot be renewed
WAIT = 0.5  # seconds to wait while somebody else fetches
WEAKEST = 2048  # bits of an RSA key

log = logging.getLogger(__name__)


def in_background(work: Callable[[], None]) -> None:
    """Do it while the request goes on."""
    threading.Thread(target=work, daemon=True).start()


@dataclass
class Keys:
    """The keys of one provider, in one process. Keys are found by their id and the algorithm of the signature."""

    web: Web
    algorithms: Sequence[str]
    clock: Callable[[], float] = time.monotonic
    aside: Callable[[Callable[[], None]], None] = in_background
    _keys: Mapping[tuple[str | None, str], list[jwt.PyJWK]] = field(default_factory=dict)
    _fetched: float = -KEPT
    _tried: float = -INTERVAL
    _failed: bool = False
    _fetching: threading.Lock = field(default_factory=threading.Lock)

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Give the key that a token names. Raises BadCredentials if there is none, Unavailable if nobody can tell."""
        key = self._known(key_id, algorithm)
        if key is None:
            self._fetch()
            key = self._known(key_id, algorithm)
        elif self._age() > FRESH and self.clock() - self._tried >= INTERVAL:
            self.aside(self._renew)
        if key is None:
            raise BadCredentials("The token is not signed with a key of its issuer.")
        return key

    def _age(self) -> float:
        return self.clock() - self._fetched

    def _known(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        if self._age() > KEPT:
            return None
        keys = self._keys.get((key_id, algorithm), [])
        return keys[0] if len(keys) == 1 else None

    def _fetch(self) -> None:
        """Fetch the keys, unless that was done, or failed, a moment ago. One at a time. Raises Unavailable."""
        if not self._fetching.acquire(timeout=WAIT):
            raise Unavailable("The identity provider is being asked.", retry_after=1)
        try:
            if self.clock() - self._tried >= INTERVAL:
                self._tried, self._failed = self.clock(), True
                self._keys = _by_name(_published(self.web), self.algorithms)
                self._fetched, self._failed = self.clock(), False
        finally:
            self._fetching.release()
        if self._failed:
            raise Unavailable("The identity provider cannot be asked now.", code="IdentityProviderUnavailable")

    def _renew(self) -> None:
        try:
            self._fetch()
        except Unavailable:
            log.warning("keys were not renewed; those of %d s ago go on", self._age())


def _published(web: Web) -> list[Any]:
    try:
        keys = web.get(web.endpoint(web.discover(), "jwks_uri")).get("keys")
    except Declined:
        keys = None
    if not isinstance(keys, list):
        log.error("the identity provider publishes no keys")
        raise Unavailable("The identity provider publishes no keys.", code="IdentityProviderUnavailable")
    return keys


def _by_name(published: Sequence[Any], algorithms: Sequence[str]) -> dict[tuple[str | None, str], list[jwt.PyJWK]]:
    """Sort keys by id and algorithm; without an id, a token may mean any, so there must be only one."""
    keys: dict[tuple[str | None, str], list[jwt.PyJWK]] = {}
    for one in published:
        for algorithm, key in _usable(one, algorithms):
            keys.setdefault((None, algorithm), []).append(key)
            if isinstance(one.get("kid"), str):
                keys.setdefault((one["kid"], algorithm), []).append(key)
    return keys


def _usable(one: Any, algorithms: Sequence[str]) -> Iterator[tuple[str, jwt.PyJWK]]:
    """Give a published key for each algorithm that it may be used with: its own, of its type, for signatures."""
    if not isinstance(one, dict) or one.get("use", "sig") != "sig":
        return
    for algorithm in algorithms:
        kind, curve = ALGORITHMS[algorithm]
        fits = one.get("kty") == kind and curve in (None, one.get("crv")) and one.get("alg", algorithm) == algorithm
        key = _made(one, algorithm) if fits else None
        if key is not None:
            yield algorithm, key


def _made(one: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    public = {name: value for name, value in one.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
    try:
        key = jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        log.warning("a published key cannot be read: %s", one.get("kid"))
        return None
    if one["kty"] == "RSA" and key.key.key_size < WEAKEST:
        log.warning("a published key is too weak: %s", one.get("kid"))
        return None
    return key
