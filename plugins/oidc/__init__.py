"""OpenID Connect: access tokens of configured providers authenticate principals.

Signed tokens (RFC 9068 and similar ones) are verified with the published keys of the provider; opaque tokens are sent
to its introspection endpoint. The plugin ignores tokens of other issuers, which are for other plugins.

The plugin ``login`` has the login by browser and its callback.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stacflask import Challenge, Principal, Request, Setting, hookimpl

from .._common.durations import cache_seconds, cached
from .http import DISCOVERY, Web
from .introspection import Introspector
from .settings import VARIABLE, Provider, read_providers
from .signing_keys import ProviderKeys
from .tokens import SCHEME, Head, check_access, check_end, head_of, principal_of, refreshed, verified_claims

CACHE = "STACFLASK_OIDC_CACHE"

SETTINGS = (
    Setting(VARIABLE, "The providers: JSON, or the path of a JSON file.", required=True, secret=True),
    Setting(CACHE, "Seconds that a verified token is cached.", "5"),
)
CACHED_TOKENS = 4096
OPAQUE = re.compile(r"(?!sfk_)[A-Za-z0-9._~+/-]{8,4096}=*")
"""A bearer token (RFC 6750, section 2.1) that is no API key of this server. API keys must not be sent to a provider."""
REALM = 'Bearer realm="stacflask"'


def create_plugin(environ: Mapping[str, str]) -> OpenId:
    """Return the plugin. Raises SettingError."""
    return OpenId(read_providers(environ), cache_seconds(environ, CACHE))


@dataclass
class TrustedProvider:
    """A provider with its HTTP client, keys and introspection in this process."""

    provider: Provider
    web: Web = field(init=False)
    keys: ProviderKeys = field(init=False)
    introspector: Introspector | None = field(init=False)

    def __post_init__(self) -> None:
        self.web = Web(self.provider)
        self.keys = ProviderKeys(self.web, self.provider.settings.algorithms)
        introspection = self.provider.settings.introspection
        self.introspector = Introspector(self.provider, introspection, Web(self.provider)) if introspection else None


class OpenId:
    """The plugin. ``cache``: seconds that a verified token is cached; its expiry is always checked."""

    def __init__(self, providers: Sequence[Provider], cache: float = 5.0) -> None:
        self.trusted = {provider.settings.issuer: TrustedProvider(provider) for provider in providers}
        self._holder = cached(self._verified, cache, CACHED_TOKENS)

    @hookimpl(trylast=True)
    def authenticate(self, request: Request) -> Principal | None:
        """Return the principal of a provider's token. It runs last, because it may send requests to the provider."""
        token = request.credentials("Bearer")
        if token is None:
            return None
        head = head_of(token)
        if head is None:
            return self._introspected(token)
        if head.issuer not in self.trusted:
            return None
        principal = self._holder(token, head)
        check_end(principal.claims, self.trusted[head.issuer].provider)
        return principal

    def _verified(self, token: str, head: Head) -> Principal:
        trusted = self.trusted[head.issuer]
        claims = verified_claims(token, head, trusted.provider, trusted.keys, trusted.provider.audiences)
        check_access(head, claims, trusted.provider)
        return principal_of(claims, trusted.provider)

    def _introspected(self, token: str) -> Principal | None:
        for trusted in self.trusted.values():
            if trusted.introspector is not None and OPAQUE.fullmatch(token):
                claims = trusted.introspector.claims(token)
                return principal_of(claims, trusted.provider)
        return None

    @hookimpl
    def refresh_principal(self, principal: Principal) -> Principal | None:
        """Return the principal of a token until it expires, plus the time that the provider's setting allows."""
        name = principal.reference.partition(" ")[0]
        for trusted in self.trusted.values():
            if principal.scheme == SCHEME and trusted.provider.name == name:
                return refreshed(principal, trusted.provider)
        return None

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Return the challenges, which name the issuers of tokens."""
        return [challenge for trusted in self.trusted.values() for challenge in _challenges(trusted.provider)]


def _challenges(provider: Provider) -> list[Challenge]:
    url = provider.settings.issuer.rstrip("/") + DISCOVERY
    text = f"An access token of {provider.settings.issuer}."
    return [
        Challenge(
            REALM, f"oidc-{provider.name}", {"type": "openIdConnect", "openIdConnectUrl": url, "description": text}
        ),
        Challenge(
            REALM,
            f"oidc-{provider.name}-token",
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": text},
            instruction=f"send an access token of {provider.settings.issuer} as a bearer token",
        ),
    ]
