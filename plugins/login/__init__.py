"""Logging in by browser, at an OpenID provider: a session, known by a cookie that neither scripts nor other sites use.

The providers are those of ``STACFLASK_OIDC_ISSUERS`` that have the member ``login``. See docs/identity.md.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import click

from plugins._common import text_tables
from plugins._common.durations import cache_seconds, parse_duration
from plugins._common.pages import POLICY, is_same_origin
from plugins.login.flow import CALLBACK, Journey, Way
from plugins.login.sessions import SCHEME, Jar, Sessions, digest
from plugins.oidc.settings import VARIABLE, read_providers
from stacflask import (
    BadCredentials,
    BadQuery,
    Challenge,
    Decision,
    Endpoint,
    EndpointResponse,
    NotFound,
    Principal,
    Refused,
    Setting,
    SettingError,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacflask import EndpointRequest, Request, Services

LIFETIME = "STACFLASK_LOGIN_LIFETIME"
CACHE = "STACFLASK_LOGIN_CACHE"
USUAL = "12h"

COMMANDS = ("sessions",)
SETTINGS = (
    Setting(
        VARIABLE, "The providers, as JSON or a file; those with `login` log people in.", required=True, secret=True
    ),
    Setting(LIFETIME, "How long a session lasts, from `1m` to `30d`.", USUAL),
    Setting(CACHE, "Seconds for which a session is trusted once it was looked up.", "5"),
)
LONGEST = timedelta(days=30)
AWAY = 600  # seconds that somebody may take at the provider
HOME = "/api.html"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE = Challenge(
    "",
    "session",
    {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-stacflask-session",
        "description": "The cookie of a browser whose user has logged in (`/login`). Browsers send it by themselves. "
        "Where this API has a path of its own, the name begins with `__Secure-`.",
    },
    {},
    "log in at {base_url}/login",
)


def create_plugin(environ: Mapping[str, str]) -> Logins:
    """Make the plugin. Raises SettingError."""
    ways = [Way(provider, provider.said.login) for provider in read_providers(environ) if provider.said.login]
    if not ways:
        raise SettingError(VARIABLE, "no provider has the member login, so nobody could log in")
    return Logins({way.provider.name: way for way in ways}, _lifetime(environ), cache_seconds(environ, CACHE))


def _lifetime(environ: Mapping[str, str]) -> timedelta:
    text = environ.get(LIFETIME, "").strip() or USUAL
    try:
        lifetime = parse_duration(text)
    except ValueError as error:
        raise SettingError(LIFETIME, str(error)) from None
    if not timedelta(minutes=1) <= lifetime <= LONGEST:
        raise SettingError(LIFETIME, f"expected from 1m to {LONGEST.days}d, not {text!r}")
    return lifetime


# --- Rules -----------------------------------------------------------------------------------------------------------


def check_origin(request: Request) -> None:
    """Refuse a change that another site may have made a browser ask for. Raises Refused."""
    if request.method not in SAFE and not is_same_origin(request):
        detail = "A change by cookie must come from a page of this server; programs send a token instead."
        raise Refused(
            Decision.deny("a cookie came with another site's change", detail=detail, code="CrossSite"), anonymous=False
        )


def wanted(query: Mapping[str, str]) -> str:
    """Read where to go after the login: a path of this API, and nowhere else. Raises BadQuery."""
    path = query.get("next", HOME)
    elsewhere = not path.startswith("/") or path.startswith("//") or "\\" in path or _climbs(path)
    if elsewhere or not path.isprintable():
        raise BadQuery("next", "expected a path of this API, such as /api.html")
    return quote(path, safe="/?#&=%:@!$'()*+,;~-._")


def _climbs(path: str) -> bool:
    """Whether a browser would leave what stands before a path: it knows dots in percent-encoding, too."""
    return any(unquote(segment) in (".", "..") for segment in re.split("[?#]", path)[0].split("/"))


# --- Hooks -----------------------------------------------------------------------------------------------------------


@dataclass
class Logins:
    """The plugin. ``ways`` are those to the providers, by name; the first is taken unless another is asked for."""

    ways: Mapping[str, Way]
    lifetime: timedelta
    cache: float = 5.0
    sessions: Sessions = field(init=False, repr=False)

    @hookimpl
    def startup(self, services: Services) -> None:
        """Take the storage."""
        self.sessions = Sessions(services.storage, self.cache)

    @hookimpl(trylast=True)
    def authenticate(self, request: Request) -> Principal | None:
        """Recognise a browser whose user has logged in.

        It sends its cookie by itself, so what a request says comes first: Authorization, and links. A wrong one is not
        made good by a cookie.
        """
        if "Authorization" in request.headers:
            return None
        secret = Jar(request.base_url).read("session", request.cookies)
        if not secret:
            return None
        check_origin(request)
        return self._holder(digest(secret))

    def _holder(self, name: bytes) -> Principal:
        principal, expires = self.sessions.find(name)
        if expires <= datetime.now(UTC):
            raise BadCredentials("Your session has ended: log in again.")
        return principal

    @hookimpl
    def refresh_principal(self, principal: Principal) -> Principal | None:
        """Say who made a link: whose session it was, as long as it lasts."""
        return self._holder(bytes.fromhex(principal.reference)) if principal.scheme == SCHEME else None

    @hookimpl
    def challenge(self) -> Sequence[Challenge]:
        """Describe the cookie; it cannot be asked for in a header field."""
        return [CHALLENGE]

    @hookimpl
    def extend_api(self) -> Sequence[Endpoint]:
        """Add the ways in and out, and a word on who is in."""
        going = {"next": "Where to go then: a path of this API.", "provider": "At which provider, by name."}
        coming = {
            "state": "What we gave.",
            "code": "What the provider gives.",
            "error": "Why not.",
            "iss": "Who it is.",
        }
        way: dict[str, Any] = {"status": 303, "public": True}
        page: dict[str, Any] = {"query": coming, "statuses": (403,), "media_type": "text/html"}
        return [
            Endpoint("GET", "/login", self.go, "Log in, at a provider.", {}, query=going, statuses=(404,), **way),
            Endpoint("GET", CALLBACK, self.come_back, "Come back from there.", {}, **page, **way),
            Endpoint("POST", "/logout", self.leave, "Log out.", {}, statuses=(403,), **way),
            Endpoint("GET", "/whoami", self.tell, "Say who you are here.", WHO),
        ]

    def go(self, call: EndpointRequest) -> EndpointResponse:
        """Send a browser to the provider. Raises BadQuery, NotFound, Unavailable."""
        jar = Jar(call.base_url)
        if not jar.usable:
            raise BadQuery("login", "people log in by https only")
        way = self._way(call.request.query.get("provider"))
        journey = Journey(way.provider.name, wanted(call.request.query))
        return EndpointResponse.redirect(
            way.out(journey, call.base_url), [jar.cookie("journey", journey.packed(), AWAY)]
        )

    def _way(self, name: str | None) -> Way:
        if name is None:
            return next(iter(self.ways.values()))
        if name not in self.ways:
            raise NotFound(f"There is no provider {name!r}.")
        return self.ways[name]

    def come_back(self, call: EndpointRequest) -> EndpointResponse:
        """Open a session for who comes back from the provider, and send the browser on. Raises Unavailable."""
        jar, query = Jar(call.base_url), call.request.query
        journey = Journey.unpacked(jar.read("journey", call.request.cookies))
        over = jar.cookie("journey", "", 0)
        if journey is None or journey.provider not in self.ways or not journey.is_the_one(query.get("state", "")):
            return _page(400, "This login was begun elsewhere, or too long ago.", call.base_url, over)
        try:
            way = self.ways[journey.provider]
            way.check_issuer(query.get("iss"))
            if "code" not in query:
                return _page(
                    403, f"The provider did not let you in: {query.get('error', 'no reason')}", call.base_url, over
                )
            principal, id_token = way.back(journey, query["code"], call.base_url)
        except BadCredentials as error:
            return _page(403, error.description, call.base_url, over)
        self._close(call)
        secret = self.sessions.begin(principal, journey.provider, id_token, self.lifetime)
        session = jar.cookie("session", secret, int(self.lifetime.total_seconds()))
        # What came in the cookie is checked again: it need not be what we gave.
        return EndpointResponse.redirect(call.base_url + wanted({"next": journey.next}), [over, session])

    def _close(self, call: EndpointRequest) -> Mapping[str, Any] | None:
        secret = Jar(call.base_url).read("session", call.request.cookies)
        return self.sessions.end(secret) if secret else None

    def leave(self, call: EndpointRequest) -> EndpointResponse:
        """Close the session, here and at the provider. Raises Refused."""
        check_origin(call.request)
        ended = self._close(call)
        home, gone = call.base_url + HOME, [Jar(call.base_url).cookie("session", "", 0)]
        way = self.ways.get(ended["provider"]) if ended else None
        there = way.leave(ended["id_token"], home) if way and ended else None
        return EndpointResponse.redirect(there or home, gone)

    def tell(self, call: EndpointRequest) -> EndpointResponse:
        """Say who asks, and where one can log in."""
        who = call.principal
        body = {
            "id": who.id,
            "anonymous": who.anonymous,
            "groups": sorted(who.groups),
            "scheme": who.scheme,
            "scopes": None if who.scopes is None else sorted(who.scopes),
            "login": [
                {"title": way.title, "href": f"{call.base_url}/login?provider={name}"}
                for name, way in self.ways.items()
            ],
        }
        return EndpointResponse(body, headers={"Cache-Control": "no-store"})

    @hookimpl
    def extend_cli(self) -> Sequence[click.Command]:
        """Add ``stacflask sessions``."""
        group = click.Group(
            "sessions",
            commands=[show, end],
            help="List and end the sessions of people who logged in by browser.",
            context_settings={"obj": self},
        )
        return [group]


def _page(status: int, text: str, base_url: str, *cookies: Any) -> EndpointResponse:
    """Tell people what went wrong. What the provider or a link said is shown as text, and nothing else."""
    again = html.escape(f"{base_url}/login", quote=True)
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Log in</title>'
        f'<p>{html.escape(text[:200])}</p><p><a href="{again}">Log in again</a></p>'
    )
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
    return EndpointResponse(body, status, headers, cookies, "text/html")


WHO = {
    "type": "object",
    "required": ["id", "anonymous", "groups", "scheme", "scopes", "login"],
    "properties": {
        "id": {"type": "string"},
        "anonymous": {"type": "boolean", "description": "Whether you have not said who you are."},
        "groups": {"type": "array", "items": {"type": "string"}},
        "scheme": {"type": "string", "description": "By what you are known: `session`, `oidc`, `api_key`."},
        "scopes": {
            "type": "array",
            "nullable": True,
            "items": {"type": "string"},
            "description": "What your credential is limited to; null: nothing.",
        },
        "login": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["title", "href"],
                "properties": {"title": {"type": "string"}, "href": {"type": "string", "format": "uri"}},
            },
        },
    },
}


# --- Commands --------------------------------------------------------------------------------------------------------


@click.command("list")
@click.pass_obj
def show(plugin: Logins, /) -> None:
    """List the open sessions, newest first."""
    rows = []
    for row in plugin.sessions.all():
        times = [row[name].astimezone(UTC).strftime("%Y-%m-%d %H:%M") for name in ("created", "expires")]
        rows.append((row["principal"], row["provider"], *times, ",".join(row["groups"]) or "-"))
    text_tables.print_table(("PRINCIPAL", "PROVIDER", "SINCE (UTC)", "UNTIL (UTC)", "GROUPS"), rows)


@click.command("end")
@click.argument("principal")
@click.pass_obj
def end(plugin: Logins, /, principal: str) -> None:
    """End all sessions of PRINCIPAL. Running servers notice within the seconds of STACFLASK_LOGIN_CACHE."""
    number = plugin.sessions.end_all(principal)
    if not number:
        raise click.ClickException(f"{principal!r} has no session")
    click.echo(f"ended {number}", err=True)
