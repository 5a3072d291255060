"""Collections: one, and the list of them."""

from flask import Response

from stacflask import current
from stacflask.api.documents import page_links, render, stac_links
from stacflask.api.http import public_url
from stacflask.api.http.media_types import JSON
from stacflask.api.http.openapi import ETAG, IF_NONE_MATCH, NOT_MODIFIED, response_object
from stacflask.api.parameters import known_names
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.parameters.search_parameters import CollectionSearch, CollectionsQuery

bp = Blueprint("collections", __name__, description="Collections of items")


@bp.route("/collections")
@bp.takes(CollectionsQuery)
@bp.describes(
    412,
    parameters=[IF_NONE_MATCH],
    _200=response_object("A page of collections.", "Collections", ETag=ETAG),
    _304=NOT_MODIFIED,
)
def list_collections(query: CollectionSearch) -> Response:
    """Find collections, sorted by id unless ``sortby`` is set."""
    known_names.check_of_collections(query)
    page = current.catalog().collections(query, current.restriction())
    links = [
        stac_links.root_link(),
        stac_links.link("self", public_url.request_url()),
        *stac_links.names_links(f"{public_url.base_url()}/collections-"),
        *page_links.links(page, JSON),
    ]
    return render.collection_list(page, links, query.fields)


@bp.route("/collections/<collection_id>")
@bp.describes(
    404,
    412,
    parameters=[IF_NONE_MATCH],
    _200=response_object("The collection.", "Collection", ETag=ETAG),
    _304=NOT_MODIFIED,
)
def get_collection(collection_id: str) -> Response:
    """Return a collection."""
    record = current.catalog().collection(collection_id, current.restriction())
    return render.record(render.collection(record), record, JSON)
