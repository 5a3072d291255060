"""Aggregations: the list of them, and their results for the items of a search."""

from collections.abc import Mapping
from dataclasses import replace

from flask import Response

from stacflask import current
from stacflask.api.documents import stac_links
from stacflask.api.http import public_url, responses
from stacflask.api.http.openapi import IF_NONE_MATCH, NOT_MODIFIED, response_object
from stacflask.api.parameters import known_names
from stacflask.api.parameters.aggregations import (
    AggregateBody,
    AggregateQuery,
    AggregationRequest,
    CollectionAggregateBody,
    CollectionAggregateQuery,
)
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.catalog.aggregation.aggregate import AggregationKind
from stacflask.model.json_types import Document
from stacflask.model.page import Aggregation, Bucket

bp = Blueprint("aggregation", __name__, description="Counts and distributions of items")

LIST = response_object("The available aggregations.", "Aggregations")
RESULTS = response_object("The results of the aggregations.", "AggregationCollection")


@bp.route("/aggregations")
@bp.describes(412, parameters=[IF_NONE_MATCH], _200=LIST, _304=NOT_MODIFIED)
def aggregations() -> Response:
    """List the available aggregations of items in all collections."""
    return _list(None, public_url.base_url())


@bp.route("/collections/<collection_id>/aggregations")
@bp.describes(404, 412, parameters=[IF_NONE_MATCH], _200=LIST, _304=NOT_MODIFIED)
def collection_aggregations(collection_id: str) -> Response:
    """List the available aggregations of a collection's items."""
    current.catalog().stored_collection(collection_id, current.restriction())
    return _list((collection_id,), public_url.collection_url(collection_id))


@bp.route("/aggregate", methods=["GET"])
@bp.takes(AggregateQuery)
@bp.describes(_200=RESULTS)
def aggregate_by_get(query: AggregationRequest) -> Response:
    """Aggregate items."""
    return _aggregate(query, public_url.base_url())


@bp.route("/aggregate", methods=["POST"])
@bp.takes_posted(AggregateBody)
@bp.describes(413, 415, _200=RESULTS)
def aggregate_by_post(query: AggregationRequest) -> Response:
    """Aggregate items, with the parameters of GET as JSON."""
    return _aggregate(query, public_url.base_url())


@bp.route("/collections/<collection_id>/aggregate", methods=["GET"])
@bp.takes(CollectionAggregateQuery)
@bp.describes(404, _200=RESULTS)
def aggregate_collection_by_get(query: AggregationRequest, collection_id: str) -> Response:
    """Aggregate a collection's items."""
    return _aggregate_collection(query, collection_id)


@bp.route("/collections/<collection_id>/aggregate", methods=["POST"])
@bp.takes_posted(CollectionAggregateBody)
@bp.describes(404, 413, 415, _200=RESULTS)
def aggregate_collection_by_post(query: AggregationRequest, collection_id: str) -> Response:
    """Aggregate a collection's items, with the parameters of GET as JSON."""
    return _aggregate_collection(query, collection_id)


def _aggregate_collection(query: AggregationRequest, collection: str) -> Response:
    current.catalog().stored_collection(collection, current.restriction())
    items = replace(query.items, collections=(collection,))
    return _aggregate(query._replace(items=items), public_url.collection_url(collection))


# --- Responses --------------------------------------------------------------------------------------------------------


def _list(collections: tuple[str, ...] | None, url: str) -> Response:
    kinds = current.catalog().aggregations(collections, current.restriction(), current.settings().queryables_sample)
    described = [_description(name, kind) for name, kind in kinds.items()]
    return responses.document({"aggregations": described, "links": _links(url)})


def _description(name: str, kind: AggregationKind) -> Document:
    return {"name": name, **_data_types(kind.data_type, kind.distributed)}


def _aggregate(query: AggregationRequest, url: str) -> Response:
    known_names.check(query.items)
    sample = current.settings().queryables_sample
    results = current.catalog().aggregate(query.items, current.restriction(), query.aggregations, sample)
    body = {"type": "AggregationCollection", "aggregations": [*map(_result, results)], "links": _links(url)}
    return responses.reply(responses.encoded(body))


def _links(url: str) -> list[stac_links.Link]:
    up = [] if url == public_url.base_url() else [stac_links.link("collection", url)]
    return [
        stac_links.root_link(),
        stac_links.link("self", public_url.request_url()),
        *up,
        *stac_links.aggregation_links(f"{url}/"),
    ]


def _result(result: Aggregation) -> Document:
    members = {"name": result.name, **_data_types(result.data_type, result.distributed)}
    if result.buckets is None:
        return {**members, "value": result.value}
    if result.interval is not None:
        members["interval"] = result.interval
    return {**members, "overflow": result.overflow, "buckets": [_bucket(bucket) for bucket in result.buckets]}


def _bucket(bucket: Bucket) -> Document:
    bounds: Mapping[str, float | None] = {"from": bucket.low, "to": bucket.high}
    members = {"key": bucket.key, "data_type": bucket.data_type, "frequency": bucket.frequency}
    return members | {name: bound for name, bound in bounds.items() if bound is not None}


def _data_types(data_type: str, distributed: str | None) -> Document:
    if distributed is None:
        return {"data_type": data_type}
    return {"data_type": data_type, "frequency_distribution_data_type": distributed}
