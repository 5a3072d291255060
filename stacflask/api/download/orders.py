"""Data that must be brought online first: 202 for who asks for them, and an address that tells how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from flask import Response, request

from stacflask import current
from stacflask.api.documents import stac_links
from stacflask.api.download import access
from stacflask.api.http import public_url, responses
from stacflask.api.http.openapi import TEXT, array, obj, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.errors import Offline

if TYPE_CHECKING:
    from stacflask.model.asset import Asset
    from stacflask.model.decision import Grant
    from stacflask.model.delivery import Order

bp = Blueprint("orders", __name__, description="Data that are not online yet")

ACCEPTED = 202
STATUS = {**TEXT, "enum": ["orderable", "ordered", "shipping", "succeeded", "failed"]}
ORDER = obj(
    ["order:status", "code", "description", "links"],
    **{"order:status": STATUS, "code": TEXT, "description": TEXT, "links": array({"type": "object"})},
)
COMING = response_object(
    "The data must be brought online first, and are being so. It is the same whoever asks, and how often.",
    ORDER,
    Location="Where to see how it stands.",
    Retry_After="Seconds.",
)
SEEN = response_object("How it stands.", ORDER, Retry_After="Seconds, while it is not there.")
SAID = {
    "orderable": "The data are offline. Whoever asks for them by GET orders them.",
    "ordered": "The data are offline and have been ordered. Ask again later.",
    "shipping": "The data are offline and are being brought online. Ask again later.",
    "succeeded": "The data are online.",
    "failed": "The data could not be brought online.",
}


def accepted(grant: Grant, offline: Offline) -> Response:
    """Answer 202, and have the data brought online; a HEAD only says how it stands. Raises Unavailable."""
    order = offline.order if request.method == "HEAD" else current.gate().order(grant, offline)
    current.gate().report_order(grant.principal, grant.asset, order)
    response = _answer(grant.asset, order, ACCEPTED)
    response.headers["Location"] = _address(grant.asset)
    return response


@bp.route("/collections/<collection_id>/items/<item_id>/orders/<key:asset_id>")
@bp.describes(403, 404, _200=SEEN)
def show_item_order(collection_id: str, item_id: str, asset_id: str) -> Response:
    """Say whether an asset of an item is online, or how it stands with bringing it there. Orders nothing."""
    return _show(collection_id, item_id, asset_id)


@bp.route("/collections/<collection_id>/orders/<key:asset_id>")
@bp.describes(403, 404, _200=SEEN)
def show_collection_order(collection_id: str, asset_id: str) -> Response:
    """Say whether an asset of a collection is online, or how it stands with bringing it there. Orders nothing."""
    return _show(collection_id, None, asset_id)


def _show(collection: str, item: str | None, key: str) -> Response:
    """Go the way of a download as far as its bytes are seen, and say what was found there."""
    grant = access.granted(collection, item, key)
    return _answer(grant.asset, current.gate().order_status(grant.asset, grant.principal), 200)


def _answer(asset: Asset, order: Order, status: int) -> Response:
    here = "status" if status == ACCEPTED else "self"
    body: dict[str, Any] = {
        "code": "Online" if order.status == "succeeded" else Offline.code,
        "description": SAID[order.status],
        "order:status": order.status,
        "links": [stac_links.link(here, _address(asset)), {"rel": "data", "href": _address(asset, "download")}],
    }
    response = responses.reply(orjson.dumps(body), status=status, headers={"Cache-Control": "no-store"})
    if order.status != "succeeded":
        response.headers["Retry-After"] = str(order.retry_after)
    return response


def _address(asset: Asset, what: str = "orders") -> str:
    place = public_url.collection_url(asset.collection)
    if asset.item is not None:
        place = public_url.item_url(asset.collection, asset.item)
    path = f"/{quote(asset.path)}" if asset.path else ""
    return f"{place}/{what}/{public_url.segment(asset.key)}{path}"
