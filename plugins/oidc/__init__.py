"""OpenID Connect: whoever brings an access token of a provider that is trusted is known by what it says.

Signed tokens (RFC 9068, and those that look like it) are proven here, with the keys that the provider publishes; opaque
ones are asked about. A token is ours by the issuer it names: others are for other plugins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plugins._common.durations import cache_seconds, cached
from plugins.oidc.http import DISCOVERY, Web
from plugins.oidc.introspection import Introspector
from plugins.oidc.settings import VARIABLE, read_providers
from plugins.oidc.signing_keys import Keys
from plugins.oidc.tokens import SCHEME, check_access, check_end, head_of, principal_of, proven, still
from stacflask import Challenge, Setting, hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugins.oidc.settings import Provider
    from plugins.oidc.tokens import Head
    from stacflask import Principal, Request

CACHE = "STACFLASK_OIDC_CACHE"

SETTINGS = (
    Setting(VARIABLE, "The providers, as JSON or a file.", required=True, secret=True),
    Setting(CACHE, "Seconds for which a signed token that was proven is not proven again.", "5"),
)
REMEMBERED = 4096  # tokens
OPAQUE = re.compile(r"(?!sfk_)[A-Za-z0-9._~+/-]{8,4096}=*")
"""A bearer token (RFC 6750, 2.1) that is no API key of ours: those are nobody else's business."""
REALM = 'Bearer realm="stacflask"'


def create_plugin(environ: Mapping[str, str]) -> OpenId:
    """Make the plugin. Raises SettingError."""
    return OpenId(read_providers(environ), cache_seconds(environ, CACHE))


@dataclass
class Trusted:
    """A provider with what is known of it in this process."""

    provider: Provider
    web: Web = field(init=False)
    keys: Keys = field(init=False)
    introspector: Introspector | None = field(init=False)

    def __post_init__(self) -> None:
        self.web = Web(self.provider)
        self.keys = Keys(self.web, self.provider.said.algorithms)
        asked = self.provider.said.introspection
        self.introspector = Introspector(self.provider, asked, Web(self.provider)) if asked else None


class OpenId:
    """The plugin. ``cache``: seconds for which a token that was proven is not proven again; its end always holds."""

    def __init__(self, providers: Sequence[Provider], cache: float = 5.0) -> None:
        self.trusted = {provider.said.issuer: Trusted(provider) for provider in providers}
        self._holder = cached(self._proven, cache, REMEMBERED)

    @hookimpl(trylast=True)
    def authenticate(self, request: Request) -> Principal | None:
        """Recognise the holder of a token of one of the providers. It may go to the network, so it comes last."""
        token = request.credentials("Bearer")
        if token is None:
            return None
        head = head_of(token)
        if head is None:
            return self._asked_about(token)
        if head.issuer not in self.trusted:
            return None
        principal = self._holder(token, head)
        check_end(principal.claims, self.trusted[head.issuer].provider)
        return principal

    def _proven(self, token: str, head: Head) -> Principal:
        trusted = self.trusted[head.issuer]
        claims = proven(token, head, trusted.provider, trusted.keys, trusted.provider.audiences)
        check_access(head, claims, trusted.provider)
        return principal_of(claims, trusted.provider)

    def _asked_about(self, token: str) -> Principal | None:
        for trusted in self.trusted.values():
            if trusted.introspector is not None and OPAQUE.fullmatch(token):
                claims = trusted.introspector.claims(token)
                return principal_of(claims, trusted.provider)
        return None

    @hookimpl
    def refresh_principal(self, principal: Principal) -> Principal | None:
        """Say who made a link: as the token said, until it ends or as long after as the operator lets it."""
        name = principal.reference.partition(" ")[0]
        for trusted in self.trusted.values():
            if principal.scheme == SCHEME and trusted.provider.name == name:
                return still(principal, trusted.provider)
        return None

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Ask for a token, and say where one is had."""
        return [challenge for trusted in self.trusted.values() for challenge in _challenges(trusted.provider)]


def _challenges(provider: Provider) -> list[Challenge]:
    url = provider.said.issuer.rstrip("/") + DISCOVERY
    text = f"An access token of {provider.said.issuer}."
    return [
        Challenge(
            REALM, f"oidc-{provider.name}", {"type": "openIdConnect", "openIdConnectUrl": url, "description": text}
        ),
        Challenge(
            REALM,
            f"oidc-{provider.name}-token",
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": text},
            instruction=f"send an access token of {provider.said.issuer} as a bearer token",
        ),
    ]
