"""The Transaction extensions: changes to items and collections. A plugin must allow each change."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

from flask import Response, request
from werkzeug.exceptions import UnsupportedMediaType

from stacflask import current
from stacflask.api.documents import render
from stacflask.api.http import bodies, public_url, responses
from stacflask.api.http.media_types import GEOJSON, JSON
from stacflask.api.http.openapi import IF_MATCH, PREFER, content, query, ref, response_object
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.stac import patches
from stacflask.api.stac.patches import Edit
from stacflask.catalog.search.visible_extents import VisibleExtents
from stacflask.errors import BadDocument, BadQuery, PreconditionFailed, PreconditionRequired, Unavailable
from stacflask.model.asset import Change
from stacflask.model.json_types import Document
from stacflask.model.page import Record
from stacflask.settings import Settings
from stacflask.stac.checks import check_collection, check_id, check_item
from stacflask.stac.json_checks import check_at
from stacflask.stac.schemas import SchemaChecker

log = logging.getLogger(__name__)
bp = Blueprint("transactions", __name__, description="Changes to items and collections")

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
NO_CONTENT = response_object("Success.", ETag="The ETag of the new state, unless the resource was deleted.")
CHANGING = (403, 404, 412, 413, 415, 428)
FORCE = "Whether to delete the collection's items too. Otherwise, deleting a collection with items fails with 409."
MAX_REPORTED_ITEMS = 500
"""Maximum number of items of one request that plugins get one by one."""
_REPRESENTATION = re.compile(r"(?:^|[,\s])return\s*=\s*(\"?)representation\1\s*(?:[,;]|$)", re.IGNORECASE)
CREATED = {"Location": "The URL of the created resource.", "ETag": "Its ETag."}


PATCH_BODY = {**content("MergePatch", MERGE_PATCH, JSON), **content("JsonPatch", JSON_PATCH)}

# --- Items -----------------------------------------------------------------------------------------------------------


@bp.route("/collections/<collection_id>/items", methods=["POST"])
@bp.takes_body(content({"anyOf": [ref("NewItem"), ref("NewItems")]}, JSON, GEOJSON))
@bp.describes(
    403,
    404,
    409,
    413,
    415,
    _201=response_object("Created.", {"oneOf": [ref("Item"), ref("ItemCollection")]}, GEOJSON, **CREATED),
)
def create_items(collection_id: str) -> Response:
    """Create an item, or all items of a FeatureCollection in one transaction."""
    current.catalog().stored_collection(collection_id, current.restriction())
    _allow("create", collection_id)
    document = _document(JSON, GEOJSON)
    if document.get("type") == "FeatureCollection":
        return _create_many(collection_id, document)
    _check_new_item(document, collection_id)
    record = current.writer().create_items(collection_id, [document], current.restriction())[0]
    _report("create", collection_id, [record.id])
    response = render.record(render.item(record), record, GEOJSON, 201)
    response.headers["Location"] = public_url.item_url(collection_id, record.id)
    return response


def _create_many(collection: str, document: Document) -> Response:
    features = document.get("features")
    if not isinstance(features, list):
        raise BadDocument("/features", "expected an array of items")
    for number, feature in enumerate(features):
        try:
            _check_new_item(feature, collection)
        except BadDocument as error:
            raise error.below(f"/features/{number}") from error
    records = current.writer().create_items(collection, features, current.restriction())
    _report("create", collection, [record.id for record in records])
    listed = b",".join(map(render.item, records))
    return responses.reply(b'{"type":"FeatureCollection","features":[%b],"links":[]}' % listed, GEOJSON, 201)


@bp.route("/collections/<collection_id>/items/<item_id>", methods=["PUT"])
@bp.takes_body(content("NewItem", JSON, GEOJSON))
@bp.describes(
    *CHANGING, parameters=(IF_MATCH, PREFER), _200=response_object("Replaced.", "Item", GEOJSON), _204=NO_CONTENT
)
def replace_item(collection_id: str, item_id: str) -> Response:
    """Replace an item."""
    _allow_item("replace", collection_id, item_id)
    document = _document(JSON, GEOJSON)
    return _changed_item("replace", collection_id, item_id, lambda _: document)


@bp.route("/collections/<collection_id>/items/<item_id>", methods=["PATCH"])
@bp.takes_body(PATCH_BODY)
@bp.describes(
    *CHANGING, 409, parameters=(IF_MATCH, PREFER), _200=response_object("Changed.", "Item", GEOJSON), _204=NO_CONTENT
)
def update_item(collection_id: str, item_id: str) -> Response:
    """Change parts of an item, by merge patch (RFC 7396) or JSON patch (RFC 6902)."""
    _allow_item("update", collection_id, item_id)
    return _changed_item("update", collection_id, item_id, patches.with_bbox(_patch()))


@bp.route("/collections/<collection_id>/items/<item_id>", methods=["DELETE"])
@bp.describes(403, 404, 412, 428, parameters=(IF_MATCH,), _204=NO_CONTENT)
def delete_item(collection_id: str, item_id: str) -> Response:
    """Delete an item. Its files stay in their store."""
    _allow_item("delete", collection_id, item_id)
    current.writer().delete_item(collection_id, item_id, _if_match())
    _report("delete", collection_id, [item_id])
    return _no_content()


def _allow_item(action: Literal["replace", "update", "delete"], collection: str, item: str) -> None:
    current.catalog().item(collection, item, current.restriction())
    _allow(action, collection, item)


def _changed_item(action: Literal["replace", "update"], collection: str, item: str, edit: Edit) -> Response:
    def checked(present: Record) -> Document:
        document = patches.edited(edit, present, render.item(present), f"/collections/{collection}/items/{item}")
        _check_item(document, collection, item)
        return document

    record = current.writer().change_item(collection, item, checked, _if_match())
    _report(action, collection, [item])
    return _changed(record, render.item, GEOJSON)


# --- Collections -----------------------------------------------------------------------------------------------------


@bp.route("/collections", methods=["POST"])
@bp.takes_body(content("NewCollection", JSON))
@bp.describes(403, 409, 413, 415, _201=response_object("Created.", "Collection", **CREATED))
def create_collection() -> Response:
    """Create a collection."""
    document = _allowed_collection()
    _check_collection(document)
    patches.created(document, f"/collections/{document['id']}")
    record = current.writer().create_collection(document, current.restriction())
    _report("create", record.id, new_collection=True)
    record = current.catalog().with_visible_extents(record, _visible_extents(record.id))
    response = render.record(render.collection(record), record, JSON, 201)
    response.headers["Location"] = public_url.collection_url(record.id)
    return response


def _allowed_collection() -> Document:
    """Read the collection to create, and authorize it once. Only authorized users get errors of the body."""
    try:
        document = _document(JSON)
        check_at("/id", check_id, document.get("id"))
    except (BadDocument, UnsupportedMediaType):
        _allow_collection_named("")
        raise
    _allow_collection_named(document["id"])
    return document


def _allow_collection_named(collection: str) -> None:
    current.gate().authorize_change(current.principal(), Change("create", collection, new_collection=True))


@bp.route("/collections/<collection_id>", methods=["PUT"])
@bp.takes_body(content("NewCollection", JSON))
@bp.describes(
    *CHANGING, parameters=(IF_MATCH, PREFER), _200=response_object("Replaced.", "Collection"), _204=NO_CONTENT
)
def replace_collection(collection_id: str) -> Response:
    """Replace a collection's document; its items stay."""
    _allow_collection("replace", collection_id)
    document = _document(JSON)
    return _changed_collection("replace", collection_id, lambda _: document)


@bp.route("/collections/<collection_id>", methods=["PATCH"])
@bp.takes_body(PATCH_BODY)
@bp.describes(
    *CHANGING, 409, parameters=(IF_MATCH, PREFER), _200=response_object("Changed.", "Collection"), _204=NO_CONTENT
)
def update_collection(collection_id: str) -> Response:
    """Change parts of a collection's document."""
    _allow_collection("update", collection_id)
    return _changed_collection("update", collection_id, _patch())


@bp.route("/collections/<collection_id>", methods=["DELETE"])
@bp.describes(
    *(403, 404, 409, 412, 428),
    parameters=(query("force", FORCE, {"type": "boolean", "default": False}), IF_MATCH),
    _204=NO_CONTENT,
)
def delete_collection(collection_id: str) -> Response:
    """Delete a collection. If it has items, this fails with 409 unless ``force`` is true.

    Items are deleted in batches. If the time limit is reached, the response is 503 with the code DeletionUnfinished.
    Send the same request again to continue.
    """
    _allow_collection("delete", collection_id)
    force = request.args.get("force", "false").lower()
    if force not in ("true", "false"):
        raise BadQuery("force", "expected true or false")
    try:
        current.writer().delete_collection(
            collection_id,
            _if_match(),
            _visible_extents(collection_id),
            force=force == "true",
            seconds=current.settings().statement_timeout,
        )
    except Unavailable as error:
        if error.code == "DeletionUnfinished":
            _report("bulk", collection_id)
        raise
    _report("delete", collection_id)
    return _no_content()


def _allow_collection(action: Literal["replace", "update", "delete"], collection: str) -> None:
    current.catalog().stored_collection(collection, current.restriction())
    _allow(action, collection)


def _changed_collection(action: Literal["replace", "update"], collection: str, edit: Edit) -> Response:
    catalog, extents = current.catalog(), _visible_extents(collection)

    def checked(present: Record) -> Document:
        rendered = render.collection(catalog.with_visible_extents(present, extents))
        document = patches.edited(edit, present, rendered, f"/collections/{collection}")
        if render.ITEM_TYPE not in present.body and document.get("itemType") == "feature":
            del document["itemType"]  # added by the server to the response
        _check_collection(document, collection)
        return document

    record = current.writer().change_collection(collection, checked, _if_match(), extents)
    _report(action, collection)
    return _changed(catalog.with_visible_extents(record, extents), render.collection, JSON)


def _visible_extents(collection: str) -> VisibleExtents | None:
    return current.catalog().visible_extents(current.restriction(), [collection])


# --- Items and collections -------------------------------------------------------------------------------------------


def _allow(action: Literal["create", "replace", "update", "delete"], collection: str, item: str | None = None) -> None:
    current.gate().authorize_change(current.principal(), Change(action, collection, item))


def _report(
    action: Literal["create", "replace", "update", "delete", "bulk"],
    collection: str,
    items: Sequence[str | None] = (None,),
    *,
    new_collection: bool = False,
) -> None:
    """Report committed changes. Many items are reported as one change, because reports can wait."""
    if len(items) > MAX_REPORTED_ITEMS:
        action, items = "bulk", (None,)
    changes = [Change(action, collection, item, new_collection) for item in items]
    current.gate().report_changes(changes, current.principal())


def _document(*media_types: str) -> Document:
    """Read the body as a JSON object. Raises UnsupportedMediaType, BadDocument."""
    bodies.expect(*media_types)
    return bodies.an_object()


def _check_item(document: Any, collection: str, item: str | None = None) -> None:
    check_item(document, collection=collection, id=item)
    document.setdefault("collection", collection)
    _check_schemas(document)


def _check_new_item(document: Any, collection: str) -> None:
    _check_item(document, collection)
    patches.created(document, f"/collections/{collection}/items/{document['id']}")


def _check_collection(document: Document, collection: str | None = None) -> None:
    check_collection(document, id=collection)
    _check_schemas(document)


def _check_schemas(document: Document) -> None:
    settings = current.settings()
    if settings.validate_schemas:
        # The server adds links, so documents may omit them.
        checker = schema_checker(settings)
        logged = set(checker.unknown)
        checker.check({"links": [], **document})
        for url in checker.unknown - logged:
            log.warning("unknown schema in a document: %.500r", url)


def schema_checker(settings: Settings) -> SchemaChecker:
    """Return the validator of documents. Raises SettingError if an additional schema is invalid."""
    return _schema_checker(settings.schemas, warn=settings.unknown_schemas == "warn")


@lru_cache(maxsize=1)
def _schema_checker(folder: str | None, *, warn: bool) -> SchemaChecker:
    return SchemaChecker(folder, warn=warn)


def _patch() -> Edit:
    """Read the body as a patch, by its media type. Raises UnsupportedMediaType, BadDocument."""
    try:
        bodies.expect(MERGE_PATCH, JSON, GEOJSON, JSON_PATCH)
    except UnsupportedMediaType as error:
        raise _with_accept_patch(error) from None
    if request.mimetype == JSON_PATCH:
        operations = bodies.parsed()
        return lambda present: patches.json_patched(present, operations)
    patch = bodies.an_object()
    return lambda present: patches.merge_patched(present, patch)


def _with_accept_patch(error: UnsupportedMediaType) -> UnsupportedMediaType:
    accepted = ("Accept-Patch", f"{MERGE_PATCH}, {JSON}, {JSON_PATCH}")
    headers = error.get_headers()
    error.get_headers = lambda *_, **__: [*headers, accepted]  # type: ignore[method-assign]
    return error


def _if_match() -> tuple[str, ...] | None:
    """Return the stored states in If-Match, or None if the request has no If-Match.

    Raises PreconditionRequired, and PreconditionFailed for ``If-None-Match: *``, because the resource exists.
    """
    if request.if_none_match.star_tag:
        raise PreconditionFailed("The resource exists, and the request has If-None-Match: *.")
    if "If-Match" not in request.headers:
        if current.settings().require_if_match:
            raise PreconditionRequired("If-Match required. Send the ETag of the state that you want to change.")
        return None
    sent = request.if_match
    return ("*",) if sent.star_tag else tuple(render.state_of(tag) for tag in sent.as_set() if tag)


def _changed(record: Record, rendered: Callable[[Record], bytes], media_type: str) -> Response:
    if _REPRESENTATION.search(request.headers.get("Prefer", "")):
        response = render.record(rendered(record), record, media_type)
        response.headers["Preference-Applied"] = "return=representation"
        return response
    response = _no_content()
    response.set_etag(render.tag_of(record, rendered(record)))
    return response


def _no_content() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response
