"""Changes to stored documents. They apply to the document as GET returns it; hidden parts are restored afterwards.

Therefore a patch reveals no storage href, and a client that reads, edits and sends back a document loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

import jsonpatch
import jsonpointer
import orjson

from stacflask import current
from stacflask.api.documents import authentication_extension, order_status, render
from stacflask.api.http import bodies, public_url
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.documents import EXPIRES
from stacflask.catalog.documents.stored_hrefs import Addresses, StoredHrefs
from stacflask.errors import BadDocument, Conflict
from stacflask.model.json_types import Document
from stacflask.model.page import Record
from stacflask.stac.geometry import bbox_for, check_geometry
from stacflask.stac.storable import check_storable

Edit: TypeAlias = Callable[[Document], Document]
"""Changes a document as GET returns it."""

STATUS = "order:status"
"""The member that responses add to items and assets with an order."""
_MAX_MESSAGE_CHARACTERS = 200


def edited(edit: Edit, present: Record, rendered: bytes, place: str) -> Document:
    """Apply a change to a record that GET returns as ``rendered``, and return the document to store.

    ``place`` is the path of the record below the base URL, not percent-encoded. Raises BadDocument, Conflict.
    """
    # This decoder keeps integers of any length exact.
    rendered_document, stored = bodies.decoded(rendered), bodies.decoded(documents.original_text(present.body))
    document = edit(bodies.decoded(rendered))
    sent = {key: asset.get("href") for key, asset in _assets(document).items() if isinstance(asset, dict)}
    origins = _restoring(place, stored).document(document)
    for key, origin in origins.items():
        rendered_asset = rendered_document["assets"].get(origin, {})
        _restore_asset(document["assets"][key], stored["assets"][origin], rendered_asset, sent[key])
    _restore_links(document.get("links"), stored["links"], rendered_document["links"], place)
    _restore_members(document, stored, rendered_document)
    schemes = authentication_extension.deployment_schemes()
    if schemes is not None:
        schemes.remove_from(document, stored)
    _remove_order_states(document, stored, origins)
    _remove_extensions(document, stored)
    return document


def created(document: Document, place: str) -> None:
    """Restore the hrefs of a document that is new at this place. Raises BadDocument."""
    _restoring(place, {}).document(document)


def _restoring(place: str, stored: Document) -> StoredHrefs:
    return StoredHrefs(Addresses(public_url.own_bases(), current.gate().storage_href), place, stored)


def _assets(document: Document) -> dict[str, Any]:
    assets = document.get("assets")
    return assets if isinstance(assets, dict) else {}


def _restore_members(document: Document, stored: Document, rendered: Document) -> None:
    """Restore members that the client left unchanged, and that users who cannot see all items get changed or not."""
    for name in ("extent", "summaries"):
        if name in stored and stored[name] != rendered.get(name) and document.get(name) == rendered.get(name):
            document[name] = stored[name]


def _restore_links(links: Any, stored: list[Document], rendered: list[Document], path: str) -> None:
    """Restore hidden links in a document that was read from this server, as its self link shows."""
    if isinstance(links, list) and any(_is_self(link, path) for link in links):
        links += [link for link in stored if link not in rendered and link not in links]


def _is_self(link: Any, path: str) -> bool:
    if not isinstance(link, dict) or link.get("rel") != "self":
        return False
    href = str(link.get("href")).partition("?")[0].partition("#")[0]
    return unquote(href).endswith(path)


def _restore_asset(asset: Document, stored: Document, rendered: Document, sent: Any) -> None:
    """Restore members of an asset that GET hides or changes. ``sent`` is its href as the client sent it."""
    if sent != rendered.get("href") and sent != stored["href"]:
        _restore(asset, EXPIRES, stored)
    before, read, changed = (one.get("alternate") or {} for one in (stored, rendered, asset))
    if before == read or not isinstance(changed, dict):
        return
    hidden = {name: entry for name, entry in before.items() if name not in read}
    # If a setting shows storage hrefs, GET returns entries that are not stored, or replaces stored ones.
    unchanged = {name for name, entry in changed.items() if name in read and entry == read[name]}
    changed = {name: before.get(name) if name in unchanged else entry for name, entry in changed.items()}
    asset["alternate"] = hidden | {name: entry for name, entry in changed.items() if entry is not None}
    if not asset["alternate"]:
        _restore(asset, "alternate", {} if before else stored)


def _restore(holder: Document, name: str, stored: Document) -> None:
    """Set a member to its stored value, or remove it if none is stored."""
    if name in stored:
        holder[name] = stored[name]
    else:
        holder.pop(name, None)


def _remove_order_states(document: Document, stored: Document, origins: Mapping[str, str]) -> None:
    """Restore the stored order states, if plugins add order states to responses."""
    if not current.gate().reports_orders:
        return
    properties = document.get("properties")
    if isinstance(properties, dict):
        _restore(properties, STATUS, stored.get("properties", {}))
    for key, origin in origins.items():
        _restore(document["assets"][key], STATUS, stored["assets"][origin])


_ADDED = {
    render.ALTERNATE_ASSETS: b'"alternate":',
    authentication_extension.EXTENSION: b'"auth:',
    order_status.EXTENSION: b'"order:',
}
"""Extensions whose members the server adds to responses, and the beginnings of these members."""


def _remove_extensions(document: Document, stored: Document) -> None:
    """Remove the declarations of extensions that only the server's members needed."""
    before, declared = stored.get("stac_extensions"), document.get("stac_extensions")
    if not isinstance(declared, list):
        return
    text, stored_text = orjson.dumps(document), orjson.dumps(stored)
    added = [name for name, mark in _ADDED.items() if mark not in text or mark in stored_text]
    declared[:] = [name for name in declared if name not in added or name in (before or ())]
    if not declared and before is None:
        del document["stac_extensions"]


# --- Patches ----------------------------------------------------------------------------------------------------------


def with_bbox(patch: Edit) -> Edit:
    """Return a patch that also computes an item's bbox, if it changes the geometry and not the bbox."""

    def patched(present: Document) -> Document:
        # As JSON text, because a JSON patch changes the document in place.
        before, bbox = orjson.dumps(present.get("geometry")), present.get("bbox")
        hint = list(bbox) if isinstance(bbox, list) else None
        document = patch(present)
        geometry = document.get("geometry")
        if orjson.dumps(geometry) == before or document.get("bbox") != hint:
            return document
        document.pop("bbox", None)
        if geometry is not None:
            check_geometry(geometry, "/geometry")
            document["bbox"] = bbox_for(geometry, hint)
        return document

    return patched


def merge_patched(present: Document, patch: Document) -> Document:
    """Apply a merge patch (RFC 7396): objects are merged, null removes a member, other values replace.

    Raises BadDocument if the patch has values that cannot be stored.
    """
    check_storable(patch)
    merged: Document = _merged(present, patch)
    return merged


def _merged(present: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(present) if isinstance(present, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def json_patched(present: Document, operations: Any) -> Document:
    """Apply a JSON patch (RFC 6902).

    Raises BadDocument if the patch is invalid or its result is no object, and Conflict if it does not fit the document.
    """
    check_storable(operations)
    if not isinstance(operations, list):
        raise BadDocument("", "expected an array of operations")
    patched: Any = present
    for number, operation in enumerate(operations):
        patched = _operated(patched, operation, f"/{number}")
    if not isinstance(patched, dict):
        raise BadDocument("", "expected a patch whose result is a JSON object")
    return patched


def _operated(document: Any, operation: Any, pointer: str) -> Any:
    try:
        patched = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPatchTestFailed, jsonpointer.JsonPointerException) as error:
        raise Conflict(f"{pointer}: {str(error)[:_MAX_MESSAGE_CHARACTERS]}") from error
    except (jsonpatch.JsonPatchException, TypeError, AttributeError) as error:
        raise BadDocument(
            pointer, f"expected an operation of a JSON patch (RFC 6902): {str(error)[:_MAX_MESSAGE_CHARACTERS]}"
        ) from error
    # Each copy operation can double the size of the document.
    if operation["op"] == "copy" and len(orjson.dumps(patched)) > current.settings().max_body:
        limit = current.settings().max_body
        raise BadDocument(pointer, f"expected a result of at most {limit} bytes")
    return patched
