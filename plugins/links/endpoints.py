"""The endpoints that create, narrow, list and revoke download links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stacflask import BadCredentials, BadDocument, Endpoint, EndpointRequest, EndpointResponse, NotFound

from .bodies import (
    LINK,
    LINK_REQUEST,
    LINKS,
    NARROWED,
    NARROWING,
    REVOKED,
    read_link_request,
    read_narrowing,
)
from .creators import check_authenticated, check_creator, description, time_left
from .tokens import parse_link

if TYPE_CHECKING:
    from . import Links


PARAMETER = "link"
NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class LinkEndpoints:
    """Handlers of the endpoints below ``/links``."""

    plugin: Links

    def all(self) -> Sequence[Endpoint]:
        """Return the endpoints."""
        one, refusals = "/links/{linkId}", (400, 403)
        return [
            Endpoint(
                "POST",
                "/links",
                self.make,
                "Create a download link.",
                LINK,
                LINK_REQUEST,
                201,
                refusals,
                scope="download",
            ),
            Endpoint(
                "POST", "/links/narrowed", self.narrow, "Narrow a download link.", NARROWED, NARROWING, scope="read"
            ),
            Endpoint("GET", "/links", self.show, "List the download links that you created.", LINKS),
            Endpoint(
                "DELETE",
                "/links",
                self.end_all,
                "Revoke all download links that you created.",
                REVOKED,
                scope="download",
            ),
            Endpoint("DELETE", one, self.end, "Revoke a download link.", REVOKED, statuses=(404,), scope="download"),
        ]

    def make(self, call: EndpointRequest) -> EndpointResponse:
        """Create a link. Raises Refused, BadDocument."""
        creator, now = call.principal, datetime.now(UTC)
        check_creator(creator, now)
        lifetime = min(self.plugin.max_lifetime, time_left(creator, now))
        requested = read_link_request(call.body, call.base_url, lifetime)
        row = self.plugin.table.add(creator, requested, now)
        link = str(self.plugin.keys.issue(row["id"]))
        body = {**description(row), "link": link, **_hrefs(requested.href, link, call.base_url)}
        return EndpointResponse(body, 201, NO_STORE)

    def narrow(self, call: EndpointRequest) -> EndpointResponse:
        """Narrow a link. The link is not verified: the response has nothing that its holder cannot compute."""
        text, href, further = read_narrowing(call.body, call.base_url, datetime.now(UTC))
        try:
            narrowed = str(parse_link(text).narrowed(further))
            parse_link(narrowed)
        except (BadCredentials, ValueError) as error:
            raise BadDocument("/link", "expected a link that can still be narrowed") from error
        body = {"link": narrowed, **(_hrefs(href, narrowed, call.base_url) if href else {})}
        return EndpointResponse(body, headers=NO_STORE)

    def show(self, call: EndpointRequest) -> EndpointResponse:
        """List the principal's links. Raises Refused."""
        creator = check_authenticated(call.principal)
        rows = self.plugin.table.all(creator.id, creator.scheme)
        return EndpointResponse({"links": [description(row) for row in rows]}, headers=NO_STORE)

    def end(self, call: EndpointRequest) -> EndpointResponse:
        """Revoke one link. Raises Refused, NotFound."""
        creator = check_authenticated(call.principal)
        revoked = self.plugin.table.revoke(call.values["linkId"], creator.id, creator.scheme)
        if not revoked:
            raise NotFound("You have created no such link, or it has expired or been revoked.")
        return EndpointResponse({"revoked": revoked})

    def end_all(self, call: EndpointRequest) -> EndpointResponse:
        """Revoke all links of the principal. Raises Refused."""
        creator = check_authenticated(call.principal)
        return EndpointResponse({"revoked": self.plugin.table.revoke(None, creator.id, creator.scheme)})


def _hrefs(href: str, link: str, base_url: str) -> dict[str, str]:
    """Return a URL with the link in its query, and one with it in its path, to which a path can be appended."""
    path = href.removeprefix(base_url)
    return {"href": f"{href}?{PARAMETER}={link}", "base": f"{base_url}/signed/{link}{path}"}
