"""Requests, principals and challenges of authentication."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stacflask.model.json_types import _empty_mapping, _protect
from stacflask.model.readonly import ReadOnlyDict


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, as plugins receive it.

    Attributes:
        method: HTTP method.
        path: URL path, without ``/signed/{token}``.
        headers: Header fields. Names are case-insensitive.
        query: Query parameters.
        address: IP address of the client. Forwarding headers are used only from trusted proxies.
        cookies: Cookies.
        base_url: URL of this API as clients use it, without a trailing slash.
        token: The credential of a URL that begins with ``/signed/{token}``, else empty.
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
        """Return the credentials of an authentication scheme from Authorization (RFC 9110, 11.4).

        Args:
            scheme: The scheme, such as ``Bearer`` or ``Basic``. It is case-insensitive.

        Returns:
            The text after the scheme, or None if Authorization is missing or has another scheme.
        """
        name, _, rest = self.headers.get("Authorization", "").partition(" ")
        return rest.strip() if name.lower() == scheme.lower() else None


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user or service, or ``ANONYMOUS``.

    Attributes:
        id: Identifier of the user or service.
        groups: Names of the groups that the principal is a member of.
        scheme: The plugin's kind of credential; empty for an anonymous principal.
        scopes: Scopes that the credential is limited to (``read``, ``write``, ``download``); None if it is not limited.
        claims: Further facts about the principal, as the identity provider states them.
        reference: Identifier of the credential, without its secret. ``refresh_principal`` uses it to find the
            credential of a download link. If it is empty, the principal cannot make links.
        until: When the credential expires, if that is known. A link expires at that time or earlier.
        added_groups: Those of ``groups`` that the hook ``principal_groups`` added. Set by stacflask.
    """

    id: str
    groups: frozenset[str] = frozenset()
    scheme: str = ""
    scopes: frozenset[str] | None = None
    claims: Mapping[str, Any] = field(default_factory=_empty_mapping)
    reference: str = ""
    until: datetime | None = None
    added_groups: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Make the claims read-only."""
        if type(self.claims) is not ReadOnlyDict:
            _protect(self, "claims")

    @property
    def own_groups(self) -> frozenset[str]:
        """The groups that the credential has, without those of ``principal_groups``. Store these to refresh it."""
        return self.groups - self.added_groups

    @property
    def anonymous(self) -> bool:
        """True if no plugin authenticated the request."""
        return not self.scheme

    def may(self, scope: str) -> bool:
        """Return whether the credential covers a scope. Plugins decide about the rights of the principal itself.

        Args:
            scope: ``read``, ``write`` or ``download``.
        """
        return self.scopes is None or scope in self.scopes


ANONYMOUS = Principal("anonymous")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A way to authenticate, as a WWW-Authenticate value and as an OpenAPI security scheme.

    Attributes:
        header: Value of WWW-Authenticate (RFC 9110, 11.6.1); empty for a cookie or a query parameter.
        name: Name of the OpenAPI security scheme.
        scheme: The OpenAPI security scheme.
        stac: The scheme of the STAC authentication extension, if it differs; an empty one is left out of documents.
        instruction: The next step for a user without credentials, which a 401 shows, such as ``send an API key as a
            bearer token``.

    In ``stac`` and ``instruction``, ``{base_url}`` is replaced by the URL of this API.
    """

    header: str
    name: str
    scheme: Mapping[str, Any]
    stac: Mapping[str, Any] | None = None
    instruction: str = ""
