"""Asking an OpenID provider: in bounded time, for a bounded answer, and nobody but whom the operator trusts.

Anybody can make us ask, with a token or a login of his own making. So few ask at a time, and a provider that is slow or
away is left alone for a while: it must not hold the threads that all else is answered by.
"""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote_plus

import msgspec
import requests

from plugins.oidc.settings import is_safe
from stacflask import Bulkhead, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugins.oidc.settings import Provider

LARGEST = 1 << 20  # bytes
CHUNK = 1 << 14
DISCOVERY = "/.well-known/openid-configuration"
AT_ONCE = 4  # questions under way
WAIT = 1.0  # seconds for one's turn
AWAY, CODE = "The identity provider cannot be asked now.", "IdentityProviderUnavailable"
REST = 5.0  # seconds for which a provider that failed is left alone

DECLINED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
ABOUT_QUESTION = frozenset(
    {
        *(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.UNPROCESSABLE_ENTITY),
        *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    }
)
"""Statuses by which a provider declines what somebody's token or login made us ask. It answers others all the same."""

log = logging.getLogger(__name__)


class Declined(Exception):
    """The provider answered, with an error of its own (RFC 6749, 5.2): its word for it, and the status."""

    def __init__(self, word: str, status: int) -> None:
        super().__init__(word)
        self.word, self.status = word, status


class Web:
    """One provider, as far as it can be asked. Whatever goes wrong is ``Unavailable``, and is logged."""

    def __init__(self, provider: Provider, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self.clock = clock
        self._questions = Bulkhead(
            f"identity provider {provider.name}",
            limit=AT_ONCE,
            share=AT_ONCE,
            slow=WAIT,
            rest=REST,
            description=AWAY,
            code=CODE,
            clock=lambda: self.clock(),  # noqa: PLW0108 - tests set another clock
        )
        self._session = requests.Session()
        # Uncompressed, so that what is counted is what there is.
        self._session.headers.update({"Accept": "application/json", "Accept-Encoding": "identity"})
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        if provider.said.ca_file:
            self._session.verify = provider.said.ca_file

    def discover(self) -> dict[str, Any]:
        """Fetch what the provider says of itself, which must be itself. Raises Unavailable."""
        issuer = self._provider.said.issuer
        url = issuer.rstrip("/") + DISCOVERY
        document = self.get(url)
        if document.get("issuer") != issuer:
            self._fail(url, f"it says it is {document.get('issuer')!r}, not {issuer!r}")
        return document

    def endpoint(self, document: Mapping[str, Any], name: str) -> str:
        """Give one of its addresses from what it says of itself. Raises Unavailable."""
        url = document.get(name)
        if not isinstance(url, str) or not is_safe(url, local=self._provider.local):
            self._fail(self._provider.said.issuer, f"it has no {name} that can be asked: {url!r}")
        return url

    def get(self, url: str, token: str | None = None) -> dict[str, Any]:
        """Fetch a JSON object, with a bearer token where one is given. Raises Unavailable, Declined."""
        return self._ask("GET", url, headers={"Authorization": f"Bearer {token}"} if token else {})

    def post(self, url: str, form: Mapping[str, str], credentials: tuple[str, str] | None) -> dict[str, Any]:
        """Send a form, and read a JSON object. Raises Unavailable, Declined."""
        return self._ask("POST", url, data=form, auth=credentials)

    def rest(self, seconds: float = REST) -> None:
        """Ask nothing more for a while."""
        self._questions.open(seconds)

    def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        """Ask when it is one's turn. After a failure, one question alone is sent until it is answered."""
        with self._questions:
            try:
                return self._asked(method, url, **more)
            except Unavailable:
                self.rest()
                raise
            except Declined as error:  # an answer, and no failure of the provider
                declined = error
        raise declined

    def _asked(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        # Without a word on credentials, requests would look for some in ~/.netrc.
        more["auth"] = more.get("auth") or _as_it_is
        timeout = self._provider.said.timeout
        until = time.monotonic() + timeout
        try:
            with self._session.request(
                method, url, timeout=timeout, stream=True, allow_redirects=False, **more
            ) as answer:
                return self._read(url, answer, until)
        except (requests.RequestException, OSError) as error:
            self._fail(url, str(error))

    def _read(self, url: str, answer: requests.Response, until: float) -> dict[str, Any]:
        body = b""
        for chunk in answer.iter_content(CHUNK):
            body += chunk
            if len(body) > LARGEST or time.monotonic() > until:
                self._fail(url, "its answer is too long, or takes too long")
        document = _parsed(body)
        if answer.status_code in DECLINED or (answer.request.method == "POST" and answer.status_code in ABOUT_QUESTION):
            log.warning("%s declined: %s %s", url, answer.status_code, (document or {}).get("error"))
            raise Declined(str((document or {}).get("error", "")), answer.status_code)
        if answer.status_code != HTTPStatus.OK or document is None:
            # Redirects too: whoever could bend one could have any address asked from here.
            self._fail(url, f"it answered {answer.status_code}, and no JSON object that could be used")
        return document

    def _fail(self, url: str, problem: str) -> NoReturn:
        log.error("identity provider %s, asked at %s: %s", self._provider.name, url, problem)
        raise _away()


def _away() -> Unavailable:
    return Unavailable(AWAY, code=CODE)


def basic(client_id: str, secret: str) -> tuple[str, str] | None:
    """Give a client's credentials for HTTP Basic (RFC 6749, 2.3.1), or None for a client without a secret."""
    return (quote_plus(client_id), quote_plus(secret)) if secret else None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
