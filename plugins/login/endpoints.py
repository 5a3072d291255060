"""The endpoints of the login: to the provider, back from it, out again, and ``/whoami``."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stacflask import BadCredentials, BadQuery, Endpoint, EndpointRequest, EndpointResponse, NotFound

from .._common.pages import POLICY
from .checks import HOME, check_origin, next_path
from .flow import CALLBACK, LoginAttempt, ProviderLogin
from .sessions import CookieJar

if TYPE_CHECKING:
    from . import Logins


ATTEMPT_SECONDS = 600
"""How long a user can take at the provider."""
WHOAMI = {
    "type": "object",
    "required": ["id", "anonymous", "groups", "scheme", "scopes", "login"],
    "properties": {
        "id": {"type": "string"},
        "anonymous": {"type": "boolean", "description": "True if you have not authenticated."},
        "groups": {"type": "array", "items": {"type": "string"}},
        "scheme": {"type": "string", "description": "Kind of your credential: `session`, `oidc`, `api_key`."},
        "scopes": {
            "type": "array",
            "nullable": True,
            "items": {"type": "string"},
            "description": "Scopes that limit your credential; null: no limit.",
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


@dataclass(frozen=True)
class LoginEndpoints:
    """Handlers of the endpoints."""

    plugin: Logins

    def all(self) -> Sequence[Endpoint]:
        """Return the endpoints."""
        login_query = {
            "next": "Path of this API to open after the login.",
            "provider": "Name of the provider.",
        }
        callback_query = {
            "state": "The state that this API sent.",
            "code": "The authorization code of the provider.",
            "error": "The error code of the provider.",
            "iss": "The issuer (RFC 9207).",
        }
        way: dict[str, Any] = {"status": 303, "public": True}
        page: dict[str, Any] = {"query": callback_query, "statuses": (403,), "media_type": "text/html"}
        login: dict[str, Any] = {"query": login_query, "statuses": (404,)}
        return [
            Endpoint("GET", "/login", self.log_in, "Log in at a provider.", {}, **login, **way),
            Endpoint("GET", CALLBACK, self.callback, "Return from the provider.", {}, **page, **way),
            Endpoint("POST", "/logout", self.log_out, "Log out.", {}, statuses=(403,), **way),
            Endpoint("GET", "/whoami", self.whoami, "Show the principal of your request.", WHOAMI),
        ]

    def log_in(self, call: EndpointRequest) -> EndpointResponse:
        """Redirect a browser to the provider. Raises BadQuery, NotFound, Unavailable."""
        jar = CookieJar(call.base_url)
        if not jar.usable:
            raise BadQuery("login", "the login needs https; open the https URL of this API")
        provider = self._provider(call.request.query.get("provider"))
        attempt = LoginAttempt(provider.provider.name, next_path(call.request.query))
        url = provider.authorization_url(attempt, call.base_url)
        return EndpointResponse.redirect(url, [jar.cookie("login", attempt.to_cookie(), ATTEMPT_SECONDS)])

    def _provider(self, name: str | None) -> ProviderLogin:
        if name is None:
            return next(iter(self.plugin.providers.values()))
        if name not in self.plugin.providers:
            raise NotFound(f"There is no provider {name!r}.")
        return self.plugin.providers[name]

    def callback(self, call: EndpointRequest) -> EndpointResponse:
        """Open a session after the login at the provider, and redirect the browser. Raises Unavailable."""
        jar, query = CookieJar(call.base_url), call.request.query
        attempt = LoginAttempt.from_cookie(jar.read("login", call.request.cookies))
        deleted = jar.cookie("login", "", 0)
        if attempt is None or attempt.provider not in self.plugin.providers:
            return _error_page(400, OTHER_BROWSER, call.base_url, deleted)
        if not attempt.matches(query.get("state", "")):
            return _error_page(400, OTHER_BROWSER, call.base_url, deleted)
        try:
            provider = self.plugin.providers[attempt.provider]
            provider.check_issuer(query.get("iss"))
            if "code" not in query:
                error = query.get("error", "no reason given")
                return _error_page(403, f"The provider refused the login: {error}", call.base_url, deleted)
            principal, id_token = provider.finish(attempt, query["code"], call.base_url)
        except BadCredentials as error:
            return _error_page(403, error.description, call.base_url, deleted)
        self._end_session(call)
        secret = self.plugin.sessions.begin(principal, attempt.provider, id_token, self.plugin.lifetime)
        session = jar.cookie("session", secret, int(self.plugin.lifetime.total_seconds()))
        # The path comes from a cookie, which the browser may have changed, so it is checked again.
        return EndpointResponse.redirect(call.base_url + next_path({"next": attempt.next}), [deleted, session])

    def _end_session(self, call: EndpointRequest) -> Mapping[str, Any] | None:
        secret = CookieJar(call.base_url).read("session", call.request.cookies)
        return self.plugin.sessions.end(secret) if secret else None

    def log_out(self, call: EndpointRequest) -> EndpointResponse:
        """End the session, here and at the provider. Raises Refused."""
        check_origin(call.request)
        ended = self._end_session(call)
        home, cookies = call.base_url + HOME, [CookieJar(call.base_url).cookie("session", "", 0)]
        provider = self.plugin.providers.get(ended["provider"]) if ended else None
        url = provider.logout_url(ended["id_token"], home) if provider and ended else None
        return EndpointResponse.redirect(url or home, cookies)

    def whoami(self, call: EndpointRequest) -> EndpointResponse:
        """Return the principal of the request, and the logins."""
        principal = call.principal
        body = {
            "id": principal.id,
            "anonymous": principal.anonymous,
            "groups": sorted(principal.groups),
            "scheme": principal.scheme,
            "scopes": None if principal.scopes is None else sorted(principal.scopes),
            "login": [
                {"title": provider.title, "href": f"{call.base_url}/login?provider={name}"}
                for name, provider in self.plugin.providers.items()
            ],
        }
        return EndpointResponse(body, headers={"Cache-Control": "no-store"})


OTHER_BROWSER = "This login was started in another browser, or too long ago."


def _error_page(status: int, text: str, base_url: str, *cookies: Any) -> EndpointResponse:
    """Return a page with an error. ``text`` can have values of the provider or of a link, so it is escaped."""
    login_url = html.escape(f"{base_url}/login", quote=True)
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Log in</title>'
        f'<p>{html.escape(text[:200])}</p><p><a href="{login_url}">Log in again</a></p>'
    )
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
    return EndpointResponse(body, status, headers, cookies, "text/html")
