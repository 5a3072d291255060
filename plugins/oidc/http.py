"""HTTP requests to an OpenID provider, with limits of time, size and concurrency, to configured hosts only.

Any client can cause such requests with a made-up token or login. The number of concurrent requests is therefore
limited, and after a failure the provider is not called for a while: it must not occupy the threads of other requests.
"""

import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn
from urllib.parse import quote_plus

import msgspec
import requests

from stacflask import Bulkhead, Unavailable

from .settings import Provider, is_safe

MAX_RESPONSE_BYTES = 1 << 20
CHUNK_BYTES = 1 << 14
DISCOVERY = "/.well-known/openid-configuration"
MAX_CONCURRENT_REQUESTS = 4
MAX_WAIT_SECONDS = 1.0
UNAVAILABLE, CODE = (
    "The identity provider is not available at the moment. Try again later.",
    "IdentityProviderUnavailable",
)
PAUSE_SECONDS = 5.0  # without requests after a failure of the provider

DECLINED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
DECLINED_CONTENT = frozenset(
    {
        *(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.UNPROCESSABLE_ENTITY),
        *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    }
)
"""Statuses by which a provider declines the content of one request. It still answers other requests."""

log = logging.getLogger(__name__)


class Declined(Exception):
    """The provider responded with an error (RFC 6749, section 5.2): its error code and the HTTP status."""

    def __init__(self, error: str, status: int) -> None:
        super().__init__(error)
        self.error, self.status = error, status


class Web:
    """The HTTP client of one provider. Every failure is logged and raised as ``Unavailable``."""

    def __init__(self, provider: Provider, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self.issuer = provider.settings.issuer
        self.clock = clock
        self._bulkhead = Bulkhead(
            f"identity provider {provider.name}",
            limit=MAX_CONCURRENT_REQUESTS,
            share=MAX_CONCURRENT_REQUESTS,
            slow=MAX_WAIT_SECONDS,
            rest=PAUSE_SECONDS,
            description=UNAVAILABLE,
            code=CODE,
            clock=lambda: self.clock(),  # noqa: PLW0108 - tests set another clock
        )
        self._session = requests.Session()
        # Uncompressed, because the size limit counts received bytes.
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity"})
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        if provider.settings.ca_file:
            self._session.verify = provider.settings.ca_file

    def discover(self) -> dict[str, Any]:
        """Fetch the provider's metadata, and check its issuer (OpenID Connect Discovery, 4.3). Raises Unavailable."""
        issuer = self._provider.settings.issuer
        url = issuer.rstrip("/") + DISCOVERY
        document = self.get(url)
        if document.get("issuer") != issuer:
            self._fail(url, f"expected the issuer {issuer!r}, got {document.get('issuer')!r}")
        return document

    def endpoint(self, document: Mapping[str, Any], name: str) -> str:
        """Return the URL of an endpoint in the provider's metadata. Raises Unavailable."""
        url = document.get(name)
        if not isinstance(url, str) or not is_safe(url, local=self._provider.local):
            self._fail(self._provider.settings.issuer, f"{name}: expected an https URL, got {url!r}")
        return url

    def get(self, url: str, token: str | None = None) -> dict[str, Any]:
        """Fetch a JSON object, optionally with a bearer token. Raises Unavailable, Declined."""
        return self._request("GET", url, headers={"Authorization": f"Bearer {token}"} if token else {})

    def post(self, url: str, form: Mapping[str, str], credentials: tuple[str, str] | None) -> dict[str, Any]:
        """Send a form, and return the JSON object of the response. Raises Unavailable, Declined."""
        return self._request("POST", url, data=form, auth=credentials)

    def pause(self, seconds: float = PAUSE_SECONDS) -> None:
        """Send no requests for a while."""
        self._bulkhead.open(seconds)

    def _request(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """Send a request within the limits. After a failure, only one request is sent until it succeeds."""
        with self._bulkhead:
            try:
                return self._send(method, url, **more)
            except Unavailable:
                self.pause()
                raise
            except Declined as error:  # a response, so the provider is available
                declined = error
        raise declined

    def _send(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        # Without auth, requests would send credentials from ~/.netrc.
        more["auth"] = more.get("auth") or _no_credentials
        timeout = self._provider.settings.timeout
        until = time.monotonic() + timeout
        try:
            with self._session.request(
                method, url, timeout=timeout, stream=True, allow_redirects=False, **more
            ) as response:
                return self._read(url, response, until)
        except (requests.RequestException, OSError) as error:
            self._fail(url, str(error))

    def _read(self, url: str, response: requests.Response, until: float) -> dict[str, Any]:
        body = b""
        for chunk in response.iter_content(CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES or time.monotonic() > until:
                self._fail(url, "the response is too large or too slow")
        document, status = _parsed(body), response.status_code
        if status in DECLINED or (response.request.method == "POST" and status in DECLINED_CONTENT):
            error = (document or {}).get("error", "")
            log.warning("identity provider declined", extra={"url": url, "status": status, "error": error})
            raise Declined(str(error), status)
        if status != HTTPStatus.OK or document is None:
            # Redirects fail, too: an attacker who controls one could make this server request any URL.
            self._fail(url, f"expected status 200 with a JSON object, got status {status}")
        return document

    def _fail(self, url: str, problem: str) -> NoReturn:
        log.error("identity provider failed", extra={"provider": self._provider.name, "url": url, "problem": problem})
        raise Unavailable(UNAVAILABLE, code=CODE)


def basic(client_id: str, secret: str) -> tuple[str, str] | None:
    """Return a client's credentials for HTTP Basic (RFC 6749, section 2.3.1); None without a secret."""
    return (quote_plus(client_id), quote_plus(secret)) if secret else None


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
