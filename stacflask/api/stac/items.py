"""Items: one, and the items of a collection."""

from dataclasses import replace

from flask import Response

from stacflask import current
from stacflask.api.documents import order_status, page_links, render, signed_hrefs, stac_links
from stacflask.api.http import public_url, responses
from stacflask.api.http.media_types import GEOJSON
from stacflask.api.http.openapi import ETAG, IF_NONE_MATCH, NOT_MODIFIED, response_object
from stacflask.api.parameters import known_names, post_body
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.parameters.search_parameters import ItemSearch, ItemsQuery
from stacflask.api.stac.counting import bound_of, counted

bp = Blueprint("items", __name__, description="Items of a collection")


@bp.route("/collections/<collection_id>/items")
@bp.takes(ItemsQuery)
@bp.describes(
    404, parameters=signed_hrefs.DESCRIPTION, _200=response_object("A page of items.", "ItemCollection", GEOJSON)
)
def list_items(query: ItemSearch, collection_id: str) -> Response:
    """List a collection's items, newest first."""
    query = replace(query, collections=(collection_id,))
    known_names.check(query)
    page = current.catalog().search(query, current.restriction(), bound_of(query))
    if not page.records:
        # If a page has items, the user may see the collection; for an empty page this must be checked.
        current.catalog().stored_collection(collection_id, current.restriction())
    links = [
        stac_links.root_link(),
        stac_links.link("self", public_url.request_url(), GEOJSON),
        stac_links.link("collection", public_url.collection_url(collection_id)),
        *page_links.links(page, as_post=lambda: post_body.search_body(ItemsQuery, collections=[collection_id])),
    ]
    return render.item_collection(page, links, query.fields, counted(query, page))


@bp.route("/collections/<collection_id>/items/<item_id>")
@bp.describes(
    404,
    412,
    parameters=[IF_NONE_MATCH, *signed_hrefs.DESCRIPTION],
    _200=response_object("The item.", "Item", GEOJSON, ETag=ETAG),
    _304=NOT_MODIFIED,
)
def get_item(collection_id: str, item_id: str) -> Response:
    """Return an item."""
    record = current.catalog().item(collection_id, item_id, current.restriction())
    states = current.gate().order_states(collection_id, item_id)
    if signed_hrefs.requested():
        text = render.item(record, render.signed_of([record]))
        return render.never_cached(
            responses.reply(order_status.with_order_status(text, states) if states else text, GEOJSON)
        )
    text = render.item(record)
    return render.record(order_status.with_order_status(text, states) if states else text, record, GEOJSON)
