"""HTTP endpoints of plugins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from stacflask.model.principal import Principal, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stacflask.model.json_types import Json


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """One request to an endpoint that a plugin added.

    ``values`` come from the path, ``body`` is the parsed JSON; links begin with ``base_url``, no slash at its end.
    ``request`` is the whole of it, with query and cookies. ``form``: the body came as a page's form, and is its fields.
    """

    principal: Principal
    values: Mapping[str, str]
    body: Json = None
    base_url: str = ""
    request: Request = field(default_factory=lambda: Request("GET", "", {}, {}, ""))
    form: bool = False


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to be set in a browser. Scripts never see it. ``seconds``: how long it lives; 0 ends it."""

    name: str
    value: str
    seconds: int
    path: str = "/"
    secure: bool = True


@dataclass(frozen=True, slots=True)
class EndpointResponse:
    """A plugin endpoint's reply: JSON, a status, further header fields, cookies.

    With another ``media_type`` than JSON, ``body`` is the text itself.
    """

    body: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[Cookie] = ()
    media_type: str = "application/json"

    @classmethod
    def redirect(cls, url: str, cookies: Sequence[Cookie] = ()) -> EndpointResponse:
        """Send a browser on to ``url``, which it asks by GET; no cache keeps this."""
        return cls("", 303, {"Location": url, "Cache-Control": "no-store"}, cookies, "text/plain")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that a plugin adds to the API.

    ``path`` has OpenAPI's form (``/licences/{licenceId}``); ``request`` and ``response`` are JSON Schemas; ``statuses``
    are the codes it may answer besides those every address has; ``query`` has the parameters it takes, by name and
    meaning. An endpoint ``for_anybody`` is served without asking who it is: the way in, and the way out.
    ``scope`` is the right that a limited credential must have for it; unless said, ``read`` for GET, else ``write``.
    ``by`` is the name of the plugin; stacflask sets it.
    ``forms``: a page's form is taken, too, as an object of its fields. Any site can have a browser send one, so see
    then who did (``Call.form``, Sec-Fetch-Site).
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
    for_anybody: bool = False
    scope: Literal["read", "write", "download"] | None = None
    forms: bool = False
    by: str = ""

    @property
    def required_scope(self) -> str:
        """The scope that a limited credential must have."""
        return self.scope or ("read" if self.method == "GET" else "write")
