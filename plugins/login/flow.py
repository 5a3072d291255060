"""The authorization code flow with PKCE (RFC 6749, 7636, 9207, OpenID Connect Core 3.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec

from stacflask import BadCredentials, Principal, Unavailable

from ..oidc.http import UNAVAILABLE, Declined, Web, basic
from ..oidc.settings import Login, Provider
from ..oidc.signing_keys import ProviderKeys
from ..oidc.tokens import head_of, principal_of, verified_claims

METADATA_CACHE_SECONDS = 3600.0
CALLBACK = "/login/callback"


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A login that has begun. The browser keeps it in a cookie, so that only the same browser can finish it."""

    provider: str
    next: str
    state: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def to_cookie(self) -> str:
        """Return the value of the cookie."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def from_cookie(cls, text: str | None) -> LoginAttempt | None:
        """Parse the value of the cookie; None if it is malformed or missing."""
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode((text or "") + "=="), type=cls)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return None

    def matches(self, state: str) -> bool:
        """Return whether the state of the callback belongs to this attempt."""
        return hmac.compare_digest(self.state.encode(), state.encode())

    @property
    def challenge(self) -> str:
        """The code challenge for the verifier (RFC 7636, S256)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")


@dataclass
class ProviderLogin:
    """The login at one provider, in this process."""

    provider: Provider
    login: Login
    clock: Callable[[], float] = time.monotonic
    web: Web = field(init=False)
    keys: ProviderKeys = field(init=False)
    _document: Mapping[str, Any] = field(default_factory=dict)
    _until: float = 0.0

    def __post_init__(self) -> None:
        self.web = Web(self.provider)
        self.keys = ProviderKeys(self.web, self.provider.settings.algorithms)

    @property
    def title(self) -> str:
        """The title for users."""
        return self.login.title or self.provider.name

    def authorization_url(self, attempt: LoginAttempt, base_url: str) -> str:
        """Return the URL of the login at the provider. Raises Unavailable."""
        query = {
            "response_type": "code",
            "client_id": self.login.client_id,
            "redirect_uri": base_url + CALLBACK,
            "scope": self.login.scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(self.web.endpoint(self._metadata(), "authorization_endpoint"), query)

    def finish(self, attempt: LoginAttempt, code: str, base_url: str) -> tuple[Principal, str]:
        """Return the principal and the ID token for an authorization code. Raises BadCredentials, Unavailable."""
        tokens = self._tokens(attempt, code, base_url)
        id_token = str(tokens.get("id_token", ""))
        claims = self._claims(id_token, attempt)
        if self.login.userinfo:
            claims = {**self._userinfo(str(tokens.get("access_token", "")), claims["sub"]), **claims}
        return principal_of(claims, self.provider, scopes=frozenset(self.provider.settings.scopes)), id_token

    def check_issuer(self, issuer: str | None) -> None:
        """Raise BadCredentials for a response of another provider (RFC 9207). Raises Unavailable."""
        required = self._metadata().get("authorization_response_iss_parameter_supported") is True
        if issuer != self.provider.settings.issuer and (required or issuer is not None):
            raise BadCredentials("The response is from another provider.")

    def logout_url(self, id_token: str, back: str) -> str | None:
        """Return the URL of the logout at the provider; None if there is none."""
        try:
            document = self._metadata()
            if "end_session_endpoint" not in document:
                return None
            query = {"client_id": self.login.client_id, "id_token_hint": id_token, "post_logout_redirect_uri": back}
            return _with_query(self.web.endpoint(document, "end_session_endpoint"), query)
        except Unavailable:
            return None

    def _metadata(self) -> Mapping[str, Any]:
        if self.clock() >= self._until:
            try:
                self._document = self.web.discover()
            except Declined:
                raise Unavailable(UNAVAILABLE) from None
            self._until = self.clock() + METADATA_CACHE_SECONDS
        return self._document

    def _tokens(self, attempt: LoginAttempt, code: str, base_url: str) -> dict[str, Any]:
        document = self._metadata()
        client, secret = self.login.client_id, self.provider.login_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": base_url + CALLBACK,
            "code_verifier": attempt.verifier,
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
            raise BadCredentials("The provider no longer accepts this login. Log in again.") from None

    def _claims(self, id_token: str, attempt: LoginAttempt) -> dict[str, Any]:
        head = head_of(id_token)
        if head is None or head.issuer != self.provider.settings.issuer:
            raise BadCredentials("The provider returned no ID token of its own.")
        client = self.login.client_id
        claims = verified_claims(id_token, head, self.provider, self.keys, [client])
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), attempt.nonce.encode()):
            raise BadCredentials("The ID token is not for this login.")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else client) != client or not isinstance(claims.get("sub"), str):
            raise BadCredentials("The ID token was issued to another client.")
        return claims

    def _userinfo(self, access_token: str, subject: str) -> dict[str, Any]:
        try:
            claims = self.web.get(self.web.endpoint(self._metadata(), "userinfo_endpoint"), access_token)
        except Declined:
            raise BadCredentials("The provider returned no user information.") from None
        if claims.get("sub") != subject:
            raise BadCredentials("The user information is about another user.")
        return claims


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
