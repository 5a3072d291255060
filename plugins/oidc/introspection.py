"""Opaque tokens: asked about at the provider (RFC 7662), and cached for seconds."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from plugins.oidc.http import ABOUT_QUESTION, REST, Declined, basic
from plugins.oidc.tokens import check_kind, check_terms, client_of
from stacflask import BadCredentials, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugins.oidc.http import Web
    from plugins.oidc.settings import Introspection, Provider

REMEMBERED = 4096  # tokens
UNSUPPORTED = "unsupported_token_type"
"""What some providers answer (RFC 7009, 2.2.1) where others say that a token is not active: they give out none such."""


UNANSWERED: Mapping[str, Any] = MappingProxyType({})
"""Stands for what a token says that the provider declined to judge just now."""


@dataclass
class Introspector:
    """Asks one provider about tokens. ``None`` is cached for a token that is not active."""

    provider: Provider
    settings: Introspection
    web: Web
    clock: Callable[[], float] = time.time
    _known: OrderedDict[bytes, tuple[float, Mapping[str, Any] | None]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _endpoint: str = ""

    def claims(self, token: str) -> Mapping[str, Any]:
        """Give what a token says. Raises BadCredentials, Unavailable."""
        name, now = hashlib.sha256(token.encode()).digest(), self.clock()
        with self._lock:
            until, claims = self._known.get(name, (0.0, None))
        if now >= until:
            claims = self._ask(token)
            self._remember(name, now, claims)
        if claims is UNANSWERED:
            # Only this token: the provider may well answer about others.
            raise Unavailable("The identity provider does not answer us.", code="IdentityProviderUnavailable")
        if claims is None:
            raise BadCredentials("The token is not active.")
        self._check(claims)
        return claims

    def _remember(self, name: bytes, now: float, claims: Mapping[str, Any] | None) -> None:
        with self._lock:
            self._known[name] = (now + (REST if claims is UNANSWERED else self.settings.cache), claims)
            self._known.move_to_end(name)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _ask(self, token: str) -> Mapping[str, Any] | None:
        client = self.settings.client_id
        form = {"token": token, "token_type_hint": "access_token"}
        if not self.provider.introspection_secret:
            form["client_id"] = client
        try:
            self._endpoint = self._endpoint or self.web.endpoint(self.web.discover(), "introspection_endpoint")
            answer = self.web.post(self._endpoint, form, basic(client, self.provider.introspection_secret))
        except Declined as declined:
            if declined.word == UNSUPPORTED:
                return None
            if declined.status in ABOUT_QUESTION:
                return UNANSWERED
            if declined.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                # It is us whom it declines, and not the question: whatever else we ask will fare no better.
                self.web.rest()
            raise Unavailable("The identity provider does not answer us.", code="IdentityProviderUnavailable") from None
        return answer if answer.get("active") is True else None

    def _check(self, claims: Mapping[str, Any]) -> None:
        """Hold the answer to what a signed token is held to. Raises BadCredentials."""
        now, leeway = self.clock(), self.provider.said.leeway
        if claims.get("iss", self.provider.said.issuer) != self.provider.said.issuer:
            raise BadCredentials("The token is another issuer's.")
        if _number(claims, "exp", now) < now - leeway:
            raise BadCredentials("The token has expired.")
        if _number(claims, "nbf", now) > now + leeway:
            raise BadCredentials("The token is not valid yet.")
        if not self._meant_for_us(claims):
            raise BadCredentials("The token is not meant for this service.")
        check_kind(claims, self.provider)
        check_terms(claims, self.provider)

    def _meant_for_us(self, claims: Mapping[str, Any]) -> bool:
        """Whether it names us. Many providers name nobody: then it must come from a client that we were told of."""
        audience = claims.get("aud")
        if audience is None:
            return client_of(claims) in self.provider.said.clients
        named = [audience] if isinstance(audience, str) else audience
        return isinstance(named, list) and any(name in self.provider.audiences for name in named)


def _number(claims: Mapping[str, Any], name: str, otherwise: float) -> float:
    value = claims.get(name, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadCredentials(f"The token's {name!r} is no time.")
    return value
