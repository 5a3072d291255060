"""Aggregations: which there are, and what they come to for the items that a search would find."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stacflask import current
from stacflask.api.documents import stac_links
from stacflask.api.http import public_url, responses
from stacflask.api.http.openapi import IF_NONE_MATCH, NOT_MODIFIED, response_object
from stacflask.api.parameters import known_names
from stacflask.api.parameters.aggregations import (
    AggregateBody,
    AggregateQuery,
    Asked,
    CollectionAggregateBody,
    CollectionAggregateQuery,
)
from stacflask.api.parameters.blueprints import Blueprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response

    from stacflask.catalog.aggregation.aggregate import AggregationKind
    from stacflask.model.json_types import Document
    from stacflask.model.page import Aggregation, Bucket

bp = Blueprint("aggregation", __name__, description="Counts and distributions of items")

LISTED = response_object("The aggregations there are.", "Aggregations")
MADE = response_object("What came of them.", "AggregationCollection")


@bp.route("/aggregations")
@bp.describes(412, parameters=[IF_NONE_MATCH], _200=LISTED, _304=NOT_MODIFIED)
def aggregations() -> Response:
    """List the aggregations there are of items of all collections."""
    return _list(None, public_url.base_url())


@bp.route("/collections/<collection_id>/aggregations")
@bp.describes(404, 412, parameters=[IF_NONE_MATCH], _200=LISTED, _304=NOT_MODIFIED)
def collection_aggregations(collection_id: str) -> Response:
    """List the aggregations there are of a collection's items."""
    current.catalog().kept(collection_id, current.restriction())
    return _list((collection_id,), public_url.collection_url(collection_id))


@bp.route("/aggregate", methods=["GET"])
@bp.takes(AggregateQuery)
@bp.describes(_200=MADE)
def aggregate_by_get(asked: Asked) -> Response:
    """Aggregate items."""
    return _aggregate(asked, public_url.base_url())


@bp.route("/aggregate", methods=["POST"])
@bp.takes_posted(AggregateBody)
@bp.describes(413, 415, _200=MADE)
def aggregate_by_post(asked: Asked) -> Response:
    """Aggregate items; as GET does, with the parameters as JSON."""
    return _aggregate(asked, public_url.base_url())


@bp.route("/collections/<collection_id>/aggregate", methods=["GET"])
@bp.takes(CollectionAggregateQuery)
@bp.describes(404, _200=MADE)
def aggregate_collection_by_get(asked: Asked, collection_id: str) -> Response:
    """Aggregate a collection's items."""
    return _aggregate_collection(asked, collection_id)


@bp.route("/collections/<collection_id>/aggregate", methods=["POST"])
@bp.takes_posted(CollectionAggregateBody)
@bp.describes(404, 413, 415, _200=MADE)
def aggregate_collection_by_post(asked: Asked, collection_id: str) -> Response:
    """Aggregate a collection's items; as GET does, with the parameters as JSON."""
    return _aggregate_collection(asked, collection_id)


def _aggregate_collection(asked: Asked, collection: str) -> Response:
    current.catalog().kept(collection, current.restriction())
    of_it = replace(asked.items, collections=(collection,))
    return _aggregate(asked._replace(items=of_it), public_url.collection_url(collection))


# --- Answers ----------------------------------------------------------------------------------------------------------


def _list(collections: tuple[str, ...] | None, url: str) -> Response:
    there = current.catalog().aggregations(collections, current.restriction(), current.settings().queryables_sample)
    listed = [_listed(name, kind) for name, kind in there.items()]
    return responses.document({"aggregations": listed, "links": _links(url)})


def _listed(name: str, kind: AggregationKind) -> Document:
    return {"name": name, **_typed(kind.data_type, kind.distributed)}


def _aggregate(asked: Asked, url: str) -> Response:
    known_names.check(asked.items)
    sample = current.settings().queryables_sample
    made = current.catalog().aggregate(asked.items, current.restriction(), asked.aggregations, sample)
    body = {"type": "AggregationCollection", "aggregations": [_told(one) for one in made], "links": _links(url)}
    return responses.reply(responses.encoded(body))


def _links(url: str) -> list[stac_links.Link]:
    up = [] if url == public_url.base_url() else [stac_links.link("collection", url)]
    return [
        stac_links.root_link(),
        stac_links.link("self", public_url.request_url()),
        *up,
        *stac_links.aggregation_links(f"{url}/"),
    ]


def _told(made: Aggregation) -> Document:
    told = {"name": made.name, **_typed(made.data_type, made.distributed)}
    if made.buckets is None:
        return {**told, "value": made.value}
    if made.interval is not None:
        told["interval"] = made.interval
    return {**told, "overflow": made.overflow, "buckets": [_bucket(bucket) for bucket in made.buckets]}


def _bucket(bucket: Bucket) -> Document:
    sides: Mapping[str, float | None] = {"from": bucket.low, "to": bucket.high}
    told = {"key": bucket.key, "data_type": bucket.data_type, "frequency": bucket.frequency}
    return told | {name: side for name, side in sides.items() if side is not None}


def _typed(data_type: str, distributed: str | None) -> Document:
    if distributed is None:
        return {"data_type": data_type}
    return {"data_type": data_type, "frequency_distribution_data_type": distributed}
