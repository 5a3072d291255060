"""HTTP endpoints of plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stacflask.model.json_types import Json
from stacflask.model.principal import Principal, Request


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """A request to an endpoint of a plugin.

    Attributes:
        principal: The principal of the request.
        values: Values of the path parameters.
        body: The parsed JSON body, or the fields of a form.
        base_url: URL of this API without a trailing slash, for links.
        request: The complete request, with query and cookies.
        form: True if the body was sent as an HTML form.
    """

    principal: Principal
    values: Mapping[str, str]
    body: Json = None
    base_url: str = ""
    request: Request = field(default_factory=lambda: Request("GET", "", {}, {}, ""))
    form: bool = False


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie for a browser. It is not readable by scripts (HttpOnly).

    Attributes:
        name: Name of the cookie.
        value: Value of the cookie.
        seconds: Lifetime in seconds; 0 deletes the cookie.
        path: URL path for which browsers send the cookie.
        secure: True if browsers send the cookie over HTTPS only.
    """

    name: str
    value: str
    seconds: int
    path: str = "/"
    secure: bool = True


@dataclass(frozen=True, slots=True)
class EndpointResponse:
    """A response of a plugin's endpoint.

    Attributes:
        body: A JSON value, or the text of the response if ``media_type`` is not JSON.
        status: Status code.
        headers: Further header fields.
        cookies: Cookies to set.
        media_type: Media type of the body.
    """

    body: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[Cookie] = ()
    media_type: str = "application/json"

    @classmethod
    def redirect(cls, url: str, cookies: Sequence[Cookie] = ()) -> EndpointResponse:
        """Return a redirect (303) to ``url``, which the browser requests by GET. Caches must not store it."""
        return cls("", 303, {"Location": url, "Cache-Control": "no-store"}, cookies, "text/plain")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that a plugin adds to the API.

    Attributes:
        method: HTTP method.
        path: Path as in OpenAPI (``/licences/{licenceId}``).
        handler: Function that handles a request.
        summary: Summary for the OpenAPI document.
        response: JSON Schema of the response, for the OpenAPI document. It is not enforced.
        request: JSON Schema of the body, which is not enforced; None if no body is read.
        status: Status code of a successful response.
        statuses: Further status codes, besides those of every endpoint.
        media_type: Media type of the response.
        query: Descriptions of the query parameters, by name.
        public: True if requests are not authenticated, as for a login and a logout.
        scope: Scope that a limited credential must have. The default is ``read`` for GET, else ``write``.
        forms: True if HTML forms are accepted as well, as an object of their fields. Any website can make a browser
            send a form, so the handler must check its origin (``EndpointRequest.form``, Sec-Fetch-Site).
        by: Name of the plugin. Set by stacflask.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Callable[[EndpointRequest], EndpointResponse]
    summary: str
    response: Mapping[str, Any]
    request: Mapping[str, Any] | None = None
    status: int = 200
    statuses: Sequence[int] = field(default=())
    media_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    public: bool = False
    scope: Literal["read", "write", "download"] | None = None
    forms: bool = False
    by: str = ""

    @property
    def required_scope(self) -> str:
        """The scope that a limited credential must have for this endpoint."""
        return self.scope or ("read" if self.method == "GET" else "write")
