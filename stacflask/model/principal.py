"""Requests as plugins see them, and the principals that plugins recognise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stacflask.model.json_types import _nothing, _protect
from stacflask.model.readonly import ReadOnlyDict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Request:
    """What an authenticating plugin may look at.

    ``headers`` are looked up without regard to case. ``address`` is the client's address as far as it can be trusted,
    ``base_url`` the address that clients use for this API, without a slash at its end. ``token`` is the credential of
    an address that begins with ``/signed/{token}``; ``path`` is without this beginning.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""
    token: str = ""

    def credentials(self, scheme: str) -> str | None:
        """Give what follows ``scheme`` (``Bearer``, ``Basic``) in Authorization (RFC 9110, 11.4), or None."""
        name, _, rest = self.headers.get("Authorization", "").partition(" ")
        return rest.strip() if name.lower() == scheme.lower() else None


@dataclass(frozen=True, slots=True)
class Principal:
    """A user or a service, as the plugin that recognised the credentials describes it.

    ``scheme`` names that plugin's kind of credential and is empty for nobody in particular.
    ``scopes`` are the rights the credential is limited to (``read``, ``write``, ``download``); None: not limited.
    ``reference`` identifies the credential without its secret. The plugin's ``refresh_principal`` uses it to find the
    credential again, for a link that its holder made. If it is empty, no links can be made. ``until`` is when the
    credential ends, if that is known: no link lasts longer.
    """

    id: str
    groups: frozenset[str] = frozenset()
    scheme: str = ""
    scopes: frozenset[str] | None = None
    claims: Mapping[str, Any] = field(default_factory=_nothing)
    reference: str = ""
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Make the claims read-only."""
        if type(self.claims) is not ReadOnlyDict:
            _protect(self, "claims")

    @property
    def anonymous(self) -> bool:
        """Whether no plugin recognised anybody."""
        return not self.scheme

    def may(self, scope: str) -> bool:
        """Whether the credential at hand covers ``scope``; what the person may do is another question."""
        return self.scopes is None or scope in self.scopes


ANONYMOUS = Principal("anonymous")


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a plugin wants to be asked: a WWW-Authenticate value, and the same thing as an OpenAPI security scheme.

    ``header`` is empty where there is no such value: for a cookie, or a parameter of the query. ``stac`` is the scheme
    of the STAC authentication extension, where that is another; empty: it is not told there. ``instruction`` is the
    next step for a user without credentials, which a 401 shows: ``send an API key as a bearer token``. In these two,
    ``{base_url}`` stands for the address of this API.
    """

    header: str
    name: str
    scheme: Mapping[str, Any]
    stac: Mapping[str, Any] | None = None
    instruction: str = ""
