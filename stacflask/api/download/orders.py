"""Orders of data that are offline: the 202 response to a download, and the endpoint for the state of an order."""

from typing import Any
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
ACCEPTED_RESPONSE = response_object(
    "The data are offline and are being brought online. All requests for them share one order.",
    ORDER,
    Location="URL of the state of the order.",
    Retry_After="Seconds until the client should retry.",
)
STATE_RESPONSE = response_object(
    "The state of the order.", ORDER, Retry_After="Seconds until the client should retry, if the data are not online."
)
DESCRIPTIONS = {
    "orderable": "The data are offline. A GET request for them orders them.",
    "ordered": "The data are offline and have been ordered. Try again later.",
    "shipping": "The data are offline and are being brought online. Try again later.",
    "succeeded": "The data are online.",
    "failed": "The data could not be brought online.",
}


def accepted(grant: Grant, offline: Offline) -> Response:
    """Order the data of an asset, and return the 202 response. HEAD orders nothing. Raises Unavailable."""
    order = offline.order if request.method == "HEAD" else current.gate().order(grant, offline)
    current.gate().report_order(grant.principal, grant.asset, order)
    response = _response(grant.asset, order, ACCEPTED)
    response.headers["Location"] = _url(grant.asset)
    return response


@bp.route("/collections/<collection_id>/items/<item_id>/orders/<key:asset_id>")
@bp.describes(403, 404, _200=STATE_RESPONSE)
def show_item_order(collection_id: str, item_id: str, asset_id: str) -> Response:
    """Return the state of the order for an asset of an item. The request orders nothing."""
    return _show(collection_id, item_id, asset_id)


@bp.route("/collections/<collection_id>/orders/<key:asset_id>")
@bp.describes(403, 404, _200=STATE_RESPONSE)
def show_collection_order(collection_id: str, asset_id: str) -> Response:
    """Return the state of the order for an asset of a collection. The request orders nothing."""
    return _show(collection_id, None, asset_id)


def _show(collection: str, item: str | None, key: str) -> Response:
    """Return the state of an order, after the same steps as for a download."""
    grant = access.granted(collection, item, key)
    return _response(grant.asset, current.gate().order_status(grant.asset, grant.principal), 200)


def _response(asset: Asset, order: Order, status: int) -> Response:
    rel = "status" if status == ACCEPTED else "self"
    body: dict[str, Any] = {
        "code": "Online" if order.status == "succeeded" else Offline.code,
        "description": DESCRIPTIONS[order.status],
        "order:status": order.status,
        "links": [stac_links.link(rel, _url(asset)), {"rel": "data", "href": _url(asset, "download")}],
    }
    response = responses.reply(orjson.dumps(body), status=status, headers={"Cache-Control": "no-store"})
    if order.status != "succeeded":
        response.headers["Retry-After"] = str(order.retry_after)
    return response


def _url(asset: Asset, endpoint: str = "orders") -> str:
    base = public_url.collection_url(asset.collection)
    if asset.item is not None:
        base = public_url.item_url(asset.collection, asset.item)
    path = f"/{quote(asset.path)}" if asset.path else ""
    return f"{base}/{endpoint}/{public_url.segment(asset.key)}{path}"
