"""Login by browser at an OpenID provider. A session cookie, not readable by scripts or other sites, names the session.

The providers are those of ``STACFLASK_OIDC_ISSUERS`` that have the member ``login``. See docs/identity.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from stacflask import Challenge, Endpoint, Principal, Request, Services, Setting, SettingError, hookimpl

from .._common.durations import cache_seconds, parse_duration
from ..oidc.settings import VARIABLE, read_providers
from .checks import check_origin
from .commands import end_sessions, list_sessions
from .endpoints import LoginEndpoints
from .flow import ProviderLogin
from .sessions import SCHEME, CookieJar, Sessions, digest, session_ended

LIFETIME = "STACFLASK_LOGIN_LIFETIME"
CACHE = "STACFLASK_LOGIN_CACHE"
DEFAULT_LIFETIME = "12h"

COMMANDS = ("sessions",)
MIGRATIONS = Path(__file__).with_name("migrations")
SETTINGS = (
    Setting(
        VARIABLE,
        "The providers: JSON, or the path of a JSON file. Users log in at those with `login`.",
        required=True,
        secret=True,
    ),
    Setting(LIFETIME, "Lifetime of a session, from `1m` to `30d`.", DEFAULT_LIFETIME),
    Setting(CACHE, "Seconds that a session is cached.", "5"),
)
MIN_LIFETIME, MAX_LIFETIME = timedelta(minutes=1), timedelta(days=30)
CHALLENGE = Challenge(
    "",
    "session",
    {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-stacflask-session",
        "description": "The session cookie of a user who has logged in by browser (`/login`). If this API has a path "
        "of its own, the name begins with `__Secure-`.",
    },
    {},
    "log in at {base_url}/login",
)


def create_plugin(environ: Mapping[str, str]) -> Logins:
    """Return the plugin. Raises SettingError."""
    providers = {
        provider.name: ProviderLogin(provider, provider.settings.login)
        for provider in read_providers(environ)
        if provider.settings.login
    }
    if not providers:
        raise SettingError(VARIABLE, "expected at least one provider with the member login")
    return Logins(providers, _lifetime(environ), cache_seconds(environ, CACHE))


def _lifetime(environ: Mapping[str, str]) -> timedelta:
    text = environ.get(LIFETIME, "").strip() or DEFAULT_LIFETIME
    try:
        lifetime = parse_duration(text)
    except ValueError as error:
        raise SettingError(LIFETIME, str(error)) from None
    if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
        raise SettingError(LIFETIME, f"expected from 1m to {MAX_LIFETIME.days}d, got {text!r}")
    return lifetime


@dataclass
class Logins:
    """The plugin. ``providers``: the logins by provider name; the first is the default."""

    providers: Mapping[str, ProviderLogin]
    lifetime: timedelta
    cache: float = 5.0
    sessions: Sessions = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Keep the storage."""
        self.sessions = Sessions(services.storage, self.cache)

    @hookimpl(trylast=True)
    def authenticate(self, request: Request) -> Principal | None:
        """Return the principal of a session.

        Browsers send the cookie with every request, so Authorization headers and links have priority. A request with
        a wrong one is refused in spite of the cookie.
        """
        if "Authorization" in request.headers:
            return None
        secret = CookieJar(request.base_url).read("session", request.cookies)
        if not secret:
            return None
        check_origin(request)
        return self._principal(digest(secret))

    def _principal(self, session: bytes) -> Principal:
        principal, expires = self.sessions.find(session)
        if expires <= datetime.now(UTC):
            raise session_ended()
        return principal

    @hookimpl
    def refresh_principal(self, principal: Principal) -> Principal | None:
        """Return the principal of a session while it lasts."""
        return self._principal(bytes.fromhex(principal.reference)) if principal.scheme == SCHEME else None

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Return the description of the cookie, without a header for 401 responses."""
        return [CHALLENGE]

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the endpoints to log in, log out and show the principal."""
        return LoginEndpoints(self).all()

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask sessions``."""
        group = click.Group(
            "sessions",
            commands=[list_sessions, end_sessions],
            help="List and end the sessions of users who logged in by browser.",
            context_settings={"obj": self},
        )
        return [group]
