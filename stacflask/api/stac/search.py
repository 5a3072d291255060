"""Item search across collections, by GET and by POST."""

from dataclasses import replace

from flask import Response, request

from stacflask import current
from stacflask.api.documents import page_links, render, signed_hrefs, stac_links
from stacflask.api.http import public_url
from stacflask.api.http.media_types import GEOJSON
from stacflask.api.http.openapi import query as parameter
from stacflask.api.http.openapi import response_object
from stacflask.api.parameters import known_names, parse, post_body
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.parameters.search_parameters import COUNT, YES_OR_NO, ItemSearch, SearchBody, SearchQuery
from stacflask.api.stac.counting import bound_of, counted
from stacflask.errors import BadQuery

bp = Blueprint("search", __name__, description="Search for items across collections")

COUNT_PARAMETER = parameter("count", f"{COUNT} The member count of the body takes precedence.", YES_OR_NO)
FOUND = response_object("A page of items, newest first.", "ItemCollection", GEOJSON)


@bp.route("/search", methods=["GET"])
@bp.takes(SearchQuery)
@bp.describes(parameters=signed_hrefs.DESCRIPTION, _200=FOUND)
def search_by_get(query: ItemSearch) -> Response:
    """Find items."""
    return _search(query)


@bp.route("/search", methods=["POST"])
@bp.takes_posted(SearchBody)
@bp.describes(413, 415, parameters=(*signed_hrefs.DESCRIPTION, COUNT_PARAMETER), _200=FOUND)
def search_by_post(query: ItemSearch) -> Response:
    """Find items, with the parameters of GET as JSON."""
    return _search(query if query.count is not None else replace(query, count=_count_parameter()))


def _count_parameter() -> bool | None:
    """Return the parameter ``count`` in the URL of a POST. Raises BadQuery."""
    text = request.args.get("count")
    try:
        return None if text is None else parse.flag_text(text)
    except ValueError as error:
        raise BadQuery("count", str(error)) from error


def _search(query: ItemSearch) -> Response:
    known_names.check(query)
    page = current.catalog().search(query, current.restriction(), bound_of(query))
    neighbours = page_links.links(page, as_post=lambda: post_body.search_body(SearchQuery))
    links = [stac_links.root_link(), stac_links.link("self", public_url.request_url(), GEOJSON), *neighbours]
    return render.item_collection(page, links, query.fields, counted(query, page))
