"""Introspection of opaque tokens at the provider (RFC 7662), with a cache."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from types import MappingProxyType
from typing import Any

from cachetools import TLRUCache, cached

from stacflask import BadCredentials, Unavailable

from .http import CODE, DECLINED_CONTENT, PAUSE_SECONDS, UNAVAILABLE, Declined, Web, basic
from .settings import Introspection, Provider
from .tokens import check_kind, check_terms, client_of

CACHED_TOKENS = 4096
UNSUPPORTED = "unsupported_token_type"
"""The error (RFC 7009, section 2.2.1) that some providers return for tokens of a kind that they do not issue."""

UNANSWERED: Mapping[str, Any] = MappingProxyType({})
"""The cached claims of a token that the provider declined to introspect."""


@dataclass
class Introspector:
    """The introspection at one provider. For a token that is not active, ``None`` is cached."""

    provider: Provider
    settings: Introspection
    web: Web
    clock: Callable[[], float] = time.time
    _endpoint: str = field(default="", init=False)
    _cached: Callable[[str], Mapping[str, Any] | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # The token itself is not kept in memory.
        cache = TLRUCache(CACHED_TOKENS, self._end, timer=lambda: self.clock())  # noqa: PLW0108 - tests set the clock
        self._cached = cached(cache, lambda token: hashlib.sha256(token.encode()).digest(), Lock())(self._introspect)

    def claims(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token. Raises BadCredentials, Unavailable."""
        claims = self._cached(token)
        if claims is UNANSWERED:
            # Only for this token: the provider may introspect others.
            raise Unavailable("The identity provider did not accept this token.", code="IdentityProviderUnavailable")
        if claims is None:
            raise BadCredentials("The token is not active.")
        self._check(claims)
        return claims

    def _end(self, _key: bytes, claims: Mapping[str, Any] | None, now: float) -> float:
        """Return until when claims are cached."""
        return now + (PAUSE_SECONDS if claims is UNANSWERED else self.settings.cache)

    def _introspect(self, token: str) -> Mapping[str, Any] | None:
        client = self.settings.client_id
        form = {"token": token, "token_type_hint": "access_token"}
        if not self.provider.introspection_secret:
            form["client_id"] = client
        try:
            self._endpoint = self._endpoint or self.web.endpoint(self.web.discover(), "introspection_endpoint")
            response = self.web.post(self._endpoint, form, basic(client, self.provider.introspection_secret))
        except Declined as declined:
            if declined.error == UNSUPPORTED:
                return None
            if declined.status in DECLINED_CONTENT:
                return UNANSWERED
            if declined.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                # The provider declines this server's credentials, so every other request would fail, too.
                self.web.pause()
            raise Unavailable(UNAVAILABLE, code=CODE) from None
        return response if response.get("active") is True else None

    def _check(self, claims: Mapping[str, Any]) -> None:
        """Check the claims as those of a signed token. Raises BadCredentials."""
        now, leeway = self.clock(), self.provider.settings.leeway
        if claims.get("iss", self.provider.settings.issuer) != self.provider.settings.issuer:
            raise BadCredentials("The token is from another issuer.")
        if _number(claims, "exp", now) < now - leeway:
            raise BadCredentials("The token has expired.")
        if _number(claims, "nbf", now) > now + leeway:
            raise BadCredentials("The token is not valid yet.")
        if not self._is_for_this_service(claims):
            raise BadCredentials("The token is not for this service.")
        check_kind(claims, self.provider)
        check_terms(claims, self.provider)

    def _is_for_this_service(self, claims: Mapping[str, Any]) -> bool:
        """Return whether the audience is this service. Without an audience, the client must be a configured one."""
        audience = claims.get("aud")
        if audience is None:
            return client_of(claims) in self.provider.settings.clients
        named = [audience] if isinstance(audience, str) else audience
        return isinstance(named, list) and any(name in self.provider.audiences for name in named)


def _number(claims: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = claims.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadCredentials(f"The claim {name!r} of the token is not a time.")
    return value
