"""Catalogs by time below each collection, so that clients can reach every item by child and item links."""

from urllib.parse import urlencode

from flask import Response
from marshmallow import EXCLUDE, Schema

from stacflask import current
from stacflask.api.documents import stac_links
from stacflask.api.documents.stac_links import link
from stacflask.api.http import public_url, responses
from stacflask.api.http.media_types import GEOJSON
from stacflask.api.http.openapi import IF_NONE_MATCH, NOT_MODIFIED, TEXT, response_object
from stacflask.api.parameters import parse
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.parameters.search_parameters import Parameter
from stacflask.catalog.aggregation.by_time import Period, parse_period
from stacflask.errors import NotFound
from stacflask.model.page import Contents

bp = Blueprint("browse", __name__, description="Items by time, for clients that follow links")
describes = bp.describes(
    404, 412, parameters=[IF_NONE_MATCH], _200=response_object("The catalog.", "Catalog"), _304=NOT_MODIFIED
)


class PartQuery(Schema):
    """Parameters of a catalog by time."""

    after = Parameter(parse.token, "Only entries after this year or item id, from a link titled More.", TEXT)

    class Meta:
        """Ignores unknown parameters."""

        unknown = EXCLUDE


@bp.route("/collections/<collection_id>/by-time")
@bp.takes(PartQuery)
@describes
def browse(query: dict[str, str], collection_id: str) -> Response:
    """Return the years in which a collection has items, 100 on a page."""
    current.catalog().stored_collection(collection_id, current.restriction())
    contents = current.catalog().browse(collection_id, None, current.restriction(), query.get("after"))
    return _catalog(collection_id, None, contents)


@bp.route("/collections/<collection_id>/by-time/<period_name>")
@bp.takes(PartQuery)
@describes
def browse_period(query: dict[str, str], collection_id: str, period_name: str) -> Response:
    """Return the parts of a year, month, day or shorter period, or its items if they are few."""
    within = parse_period(period_name)
    contents = within and current.catalog().browse(collection_id, within, current.restriction(), query.get("after"))
    if not within or not contents or not (contents.periods or contents.items):
        raise NotFound(f"There are no items in period {period_name!r} of collection {collection_id!r}.")
    return _catalog(collection_id, within, contents)


def _catalog(collection: str, within: Period | None, contents: Contents) -> Response:
    url = _url(collection, within)
    parent = public_url.collection_url(collection) if within is None else _url(collection, within.parent)
    title = f"{collection}, {within.name}" if within else f"{collection}, by time"
    children = [link("child", _url(collection, Period(name)), title=name) for name in contents.periods]
    if contents.more is not None:
        children.append(link("child", f"{url}?{urlencode({'after': contents.more})}", title="More"))
    items = [link("item", public_url.item_url(collection, item), GEOJSON, title=item) for item in contents.items]
    return responses.document(
        {
            "type": "Catalog",
            "stac_version": "1.1.0",
            "id": f"{collection}-{within.name if within else 'by-time'}",
            "title": title,
            "description": f"Items of collection {collection}{f', {within.name}' if within else ''} by time",
            "links": [
                stac_links.root_link(),
                link("parent", parent),
                link("self", public_url.request_url()),
                *children,
                *items,
            ],
        }
    )


def _url(collection: str, within: Period | None) -> str:
    base = f"{public_url.collection_url(collection)}/by-time"
    return base if within is None else f"{base}/{public_url.segment(within.name)}"
