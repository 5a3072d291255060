"""The children of the landing page: complete collections (STAC API Children)."""

from typing import Any

from flask import Response

from stacflask import current
from stacflask.api.documents import page_links, render, stac_links
from stacflask.api.http import public_url
from stacflask.api.http.media_types import JSON
from stacflask.api.http.openapi import IF_NONE_MATCH, NOT_MODIFIED, TEXT, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.parameters.parse import expected
from stacflask.api.parameters.search_parameters import PageQuery, Parameter
from stacflask.model.page import Page
from stacflask.model.query import CollectionQuery

TYPES = ("Catalog", "Collection")

bp = Blueprint("children", __name__, description="Children of the landing page")


def type_of(text: str) -> str:
    """Read the type of children."""
    if text not in TYPES:
        raise expected(" or ".join(TYPES))
    return text


class ChildrenQuery(PageQuery):
    """Parameters of GET /children."""

    type = Parameter(type_of, "Only children of this type.", {**TEXT, "enum": list(TYPES)})


@bp.route("/children")
@bp.takes(ChildrenQuery)
@bp.describes(
    412, parameters=[IF_NONE_MATCH], _200=response_object("A page of children.", "Children"), _304=NOT_MODIFIED
)
def children(query: dict[str, Any]) -> Response:
    """List collections as children of the landing page, which has no child catalogs."""
    page = _page(query)
    links = [
        stac_links.root_link(),
        stac_links.link("parent", public_url.base_url()),
        stac_links.link("self", public_url.request_url()),
        *page_links.links(page, JSON),
    ]
    return render.child_list(page, links)


def _page(query: dict[str, Any]) -> Page:
    if query.get("type") == "Catalog":
        return Page(())
    limit = query.get("limit", current.settings().max_limit)
    collection_query = CollectionQuery(limit, token=query.get("token"))
    return current.catalog().collections(collection_query, current.restriction())
