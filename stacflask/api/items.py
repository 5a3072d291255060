"""Items: one, and the pages of a collection."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stacflask import current
from stacflask.api import address, names, orders, paging, render, reposting, signing
from stacflask.api.blueprints import Blueprint
from stacflask.api.counting import bound_of, counted
from stacflask.api.openapi import IF_NONE_MATCH, KNOWN, STATE, answer
from stacflask.api.render import GEOJSON
from stacflask.api.schemas import ItemSearch, ItemsQuery

if TYPE_CHECKING:
    from flask import Response


bp = Blueprint("items", __name__, description="Items of a collection")


@bp.route("/collections/<collection_id>/items")
@bp.takes(ItemsQuery)
@bp.describes(404, parameters=signing.DESCRIPTION, _200=answer("A page of items.", "ItemCollection", GEOJSON))
def list_items(query: ItemSearch, collection_id: str) -> Response:
    """List a collection's items, newest first."""
    query = replace(query, collections=(collection_id,))
    names.check(query)
    page = current.catalog().search(query, current.restriction(), bound_of(query))
    if not page.records:
        # Whoever sees an item has seen that there is its collection; for an empty page it must be asked.
        current.catalog().kept(collection_id, current.restriction())
    links = [
        render.root_link(),
        render.link("self", address.asked_url(), GEOJSON),
        render.link("collection", address.collection_url(collection_id)),
        *paging.links(page, as_post=lambda: reposting.search_body(ItemsQuery, collections=[collection_id])),
    ]
    return render.item_collection(page, links, query.fields, counted(query, page))


@bp.route("/collections/<collection_id>/items/<item_id>")
@bp.describes(
    404,
    412,
    parameters=[IF_NONE_MATCH, *signing.DESCRIPTION],
    _200=answer("The item.", "Item", GEOJSON, ETag=STATE),
    _304=KNOWN,
)
def get_item(collection_id: str, item_id: str) -> Response:
    """Show one item."""
    record = current.catalog().item(collection_id, item_id, current.restriction())
    states = current.gate().order_states(collection_id, item_id)
    if signing.wanted():
        text = render.item(record, render.signed_of([record]))
        return render.never_cached(render.reply(orders.shown(text, states) if states else text, GEOJSON))
    text = render.item(record)
    return render.record(orders.shown(text, states) if states else text, record, GEOJSON)
