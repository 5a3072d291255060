"""Item search across collections. GET and POST differ only in where the words stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask import current
from stacflask.api import address, names, paging, render, reposting, signing
from stacflask.api.blueprints import Blueprint
from stacflask.api.counting import counted
from stacflask.api.openapi import answer
from stacflask.api.render import GEOJSON
from stacflask.api.schemas import ItemSearch, SearchBody, SearchQuery

if TYPE_CHECKING:
    from flask import Response


bp = Blueprint("search", __name__, description="Search for items across collections")

FOUND = answer("A page of items, newest first.", "ItemCollection", GEOJSON)


@bp.route("/search", methods=["GET"])
@bp.takes(SearchQuery)
@bp.describes(parameters=signing.DESCRIPTION, _200=FOUND)
def search_by_get(query: ItemSearch) -> Response:
    """Find items."""
    return _search(query)


@bp.route("/search", methods=["POST"])
@bp.takes_posted(SearchBody)
@bp.describes(413, 415, parameters=signing.DESCRIPTION, _200=FOUND)
def search_by_post(query: ItemSearch) -> Response:
    """Find items; as GET does, with the parameters as JSON."""
    return _search(query)


def _search(query: ItemSearch) -> Response:
    names.check(query)
    page = current.catalog().search(query, current.restriction())
    neighbours = paging.links(page, as_post=lambda: reposting.search_body(SearchQuery))
    links = [render.root_link(), render.link("self", address.asked_url(), GEOJSON), *neighbours]
    return render.item_collection(page, links, query.fields, counted(query, page))
