"""The way to a provider and back: authorization code with PKCE (RFC 6749, 7636, 9207, OpenID Connect Core 3.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from plugins.oidc.http import Declined, Web, basic
from plugins.oidc.signing_keys import Keys
from plugins.oidc.tokens import head_of, principal_of, proven
from stacflask import BadCredentials, Principal, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugins.oidc.settings import Login, Provider

FRESH = 3600.0  # seconds for which it is trusted what a provider says of itself
CALLBACK = "/login/callback"


@dataclass(frozen=True, slots=True)
class Journey:
    """What a browser keeps while its user is at the provider, so that only who left can come back."""

    provider: str
    next: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def packed(self) -> str:
        """Write it as a cookie's value."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def unpacked(cls, text: str | None) -> Journey | None:
        """Read it from a cookie's value; None if it is none."""
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode((text or "") + "=="), type=cls)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return None

    def is_the_one(self, state: str) -> bool:
        """Whether this browser is the one that left."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier (RFC 7636, S256)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")


@dataclass
class Way:
    """The way to one provider, in one process."""

    provider: Provider
    login: Login
    clock: Callable[[], float] = time.monotonic
    web: Web = field(init=False)
    keys: Keys = field(init=False)
    _document: Mapping[str, Any] = field(default_factory=dict)
    _until: float = 0.0

    def __post_init__(self) -> None:
        self.web = Web(self.provider)
        self.keys = Keys(self.web, self.provider.said.algorithms)

    @property
    def title(self) -> str:
        """What people call it."""
        return self.login.title or self.provider.name

    def out(self, journey: Journey, base_url: str) -> str:
        """Give the address at the provider where to log in. Raises Unavailable."""
        query = {
            "response_type": "code",
            "client_id": self.login.client_id,
            "redirect_uri": base_url + CALLBACK,
            "scope": self.login.scope,
            "state": journey.state,
            "nonce": journey.nonce,
            "code_challenge": journey.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(self.web.endpoint(self._said(), "authorization_endpoint"), query)

    def back(self, journey: Journey, code: str, base_url: str) -> tuple[Principal, str]:
        """Give who came back, and the ID token. Raises BadCredentials, Unavailable."""
        tokens = self._tokens(journey, code, base_url)
        id_token = str(tokens.get("id_token", ""))
        claims = self._claims(id_token, journey)
        if self.login.userinfo:
            claims = {**self._userinfo(str(tokens.get("access_token", "")), claims["sub"]), **claims}
        return principal_of(claims, self.provider, scopes=frozenset(self.provider.said.scopes)), id_token

    def check_issuer(self, issuer: str | None) -> None:
        """Refuse an answer that another provider gave (RFC 9207). Raises BadCredentials, Unavailable."""
        told = self._said().get("authorization_response_iss_parameter_supported") is True
        if issuer != self.provider.said.issuer and (told or issuer is not None):
            raise BadCredentials("This answer is another provider's.")

    def leave(self, id_token: str, back: str) -> str | None:
        """Give the address at the provider where to log out, if it has one."""
        try:
            document = self._said()
            if "end_session_endpoint" not in document:
                return None
            query = {"client_id": self.login.client_id, "id_token_hint": id_token, "post_logout_redirect_uri": back}
            return _with_query(self.web.endpoint(document, "end_session_endpoint"), query)
        except Unavailable:
            return None

    def _said(self) -> Mapping[str, Any]:
        if self.clock() >= self._until:
            try:
                self._document = self.web.discover()
            except Declined:
                raise Unavailable("The identity provider cannot be asked now.") from None
            self._until = self.clock() + FRESH
        return self._document

    def _tokens(self, journey: Journey, code: str, base_url: str) -> dict[str, Any]:
        document = self._said()
        client, secret = self.login.client_id, self.provider.login_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": base_url + CALLBACK,
            "code_verifier": journey.verifier,
        }
        by_header = "client_secret_basic" in document.get(
            "token_endpoint_auth_methods_supported", ["client_secret_basic"]
        )
        if not secret or not by_header:
            form |= {"client_id": client} | ({"client_secret": secret} if secret else {})
        try:
            return self.web.post(
                self.web.endpoint(document, "token_endpoint"), form, basic(client, secret) if by_header else None
            )
        except Declined:
            raise BadCredentials("The provider does not know this login any more.") from None

    def _claims(self, id_token: str, journey: Journey) -> dict[str, Any]:
        head = head_of(id_token)
        if head is None or head.issuer != self.provider.said.issuer:
            raise BadCredentials("The provider gave no ID token of its own.")
        client = self.login.client_id
        claims = proven(id_token, head, self.provider, self.keys, [client])
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), journey.nonce.encode()):
            raise BadCredentials("The ID token is not for this login.")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else client) != client or not isinstance(claims.get("sub"), str):
            raise BadCredentials("The ID token was given to another client.")
        return claims

    def _userinfo(self, access_token: str, subject: str) -> dict[str, Any]:
        try:
            claims = self.web.get(self.web.endpoint(self._said(), "userinfo_endpoint"), access_token)
        except Declined:
            raise BadCredentials("The provider does not say who this is.") from None
        if claims.get("sub") != subject:
            raise BadCredentials("The provider speaks of somebody else.")
        return claims


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
