"""Collections, alone and in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask import current
from stacflask.api import address, names, paging, render
from stacflask.api.blueprints import Blueprint
from stacflask.api.openapi import IF_NONE_MATCH, KNOWN, STATE, answer
from stacflask.api.render import JSON
from stacflask.api.schemas import CollectionSearch, CollectionsQuery

if TYPE_CHECKING:
    from flask import Response

bp = Blueprint("collections", __name__, description="Collections of items")


@bp.route("/collections")
@bp.takes(CollectionsQuery)
@bp.describes(
    412, parameters=[IF_NONE_MATCH], _200=answer("A page of collections.", "Collections", ETag=STATE), _304=KNOWN
)
def list_collections(query: CollectionSearch) -> Response:
    """Find collections; in the order of their ids unless they are sorted."""
    names.check_of_collections(query)
    page = current.catalog().collections(query, current.restriction())
    links = [
        render.root_link(),
        render.link("self", address.asked_url()),
        *render.names_links(f"{address.base_url()}/collections-"),
        *paging.links(page, JSON),
    ]
    return render.collection_list(page, links, query.fields)


@bp.route("/collections/<collection_id>")
@bp.describes(
    404, 412, parameters=[IF_NONE_MATCH], _200=answer("The collection.", "Collection", ETag=STATE), _304=KNOWN
)
def get_collection(collection_id: str) -> Response:
    """Show one collection."""
    record = current.catalog().collection(collection_id, current.restriction())
    return render.record(render.collection(record), record, JSON)
