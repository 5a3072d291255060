"""Changes to what is kept: they are made to what GET shows of it, and what GET withholds is put back afterwards.

So nobody learns by a patch where the bytes are, and whoever reads, edits and sends back loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

import jsonpatch
import jsonpointer
import orjson

from stacflask import current
from stacflask.api.documents import authentication, order_status, render
from stacflask.api.http import bodies, public_url
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.documents import EXPIRES
from stacflask.catalog.documents.stored_hrefs import Addresses, Restoring
from stacflask.errors import BadDocument, Conflict
from stacflask.model.json_types import Document
from stacflask.stac.geometry import bbox_for, check_geometry
from stacflask.stac.storable import check_storable

if TYPE_CHECKING:
    from stacflask.model.page import Record

Edit: TypeAlias = Callable[[Document], Document]
"""From what GET shows to what shall be kept."""

STATUS = "order:status"
"""The member that is added to items and assets of which an order is known."""
_SHOWN = 200


def edited(edit: Edit, present: Record, rendered: bytes, place: str) -> Document:
    """Make a change to a record that GET shows as ``rendered``. Raises BadDocument, Conflict.

    ``place`` is the path of the record below the base URL, not percent-encoded.
    """
    # Exact with whole numbers of any length, so that none is changed without a word.
    shown, kept = bodies.decoded(rendered), bodies.decoded(documents.original_text(present.body))
    document = edit(bodies.decoded(rendered))
    sent = {key: asset.get("href") for key, asset in _assets(document).items() if isinstance(asset, dict)}
    origins = _restoring(place, kept).document(document)
    for key, origin in origins.items():
        _put_back(document["assets"][key], kept["assets"][origin], shown["assets"].get(origin, {}), sent[key])
    _put_links_back(document.get("links"), kept["links"], shown["links"], place)
    _put_members_back(document, kept, shown)
    schemes = authentication.deployment_schemes()
    if schemes is not None:
        schemes.remove_from(document, kept)
    _take_states_out(document, kept, origins)
    _take_extensions_out(document, kept)
    return document


def created(document: Document, place: str) -> None:
    """Restore the hrefs of a document that is new at this place. Raises BadDocument."""
    _restoring(place, {}).document(document)


def _restoring(place: str, kept: Document) -> Restoring:
    return Restoring(Addresses(public_url.own_bases(), current.gate().storage_href), place, kept)


def _assets(document: Document) -> dict[str, Any]:
    assets = document.get("assets")
    return assets if isinstance(assets, dict) else {}


def _put_members_back(document: Document, kept: Document, shown: Document) -> None:
    """Put back what is shown in another form, or not at all, to who may not see all items, and was left so."""
    for name in ("extent", "summaries"):
        if name in kept and kept[name] != shown.get(name) and document.get(name) == shown.get(name):
            document[name] = kept[name]


def _put_links_back(links: Any, kept: list[Document], shown: list[Document], path: str) -> None:
    """Put links back into what was read here, as its link to itself tells."""
    if isinstance(links, list) and any(_is_self(link, path) for link in links):
        links += [link for link in kept if link not in shown and link not in links]


def _is_self(link: Any, path: str) -> bool:
    if not isinstance(link, dict) or link.get("rel") != "self":
        return False
    href = str(link.get("href")).partition("?")[0].partition("#")[0]
    return unquote(href).endswith(path)


def _put_back(asset: Document, kept: Document, shown: Document, sent: Any) -> None:
    """Put back what is shown of an asset in another form, or not at all. ``sent`` is its href as it came."""
    if sent != shown.get("href") and sent != kept["href"]:
        _keep(asset, EXPIRES, kept)
    before, seen, given = (one.get("alternate") or {} for one in (kept, shown, asset))
    if before == seen or not isinstance(given, dict):
        return
    withheld = {name: entry for name, entry in before.items() if name not in seen}
    # Under a setting GET shows more than what is kept, perhaps in its place.
    unchanged = {name for name, entry in given.items() if name in seen and entry == seen[name]}
    given = {name: before.get(name) if name in unchanged else entry for name, entry in given.items()}
    asset["alternate"] = withheld | {name: entry for name, entry in given.items() if entry is not None}
    if not asset["alternate"]:
        _keep(asset, "alternate", {} if before else kept)


def _keep(holder: Document, name: str, kept: Document) -> None:
    """Give a member the value that is stored, or take it out if none is."""
    if name in kept:
        holder[name] = kept[name]
    else:
        holder.pop(name, None)


def _take_states_out(document: Document, kept: Document, origins: Mapping[str, str]) -> None:
    """Keep what is stored of the states of orders, where plugins add them to what is shown."""
    if not current.gate().reports_orders:
        return
    properties = document.get("properties")
    if isinstance(properties, dict):
        _keep(properties, STATUS, kept.get("properties", {}))
    for key, origin in origins.items():
        _keep(document["assets"][key], STATUS, kept["assets"][origin])


_ADDED = {
    render.ALTERNATE_ASSETS: b'"alternate":',
    authentication.EXTENSION: b'"auth:',
    order_status.EXTENSION: b'"order:',
}
"""Extensions that are declared for what the server adds to what is shown, and what their members begin with."""


def _take_extensions_out(document: Document, kept: Document) -> None:
    """Take out the declarations of extensions that only the server needed."""
    stored, declared = kept.get("stac_extensions"), document.get("stac_extensions")
    if not isinstance(declared, list):
        return
    text, before = orjson.dumps(document), orjson.dumps(kept)
    added = [name for name, mark in _ADDED.items() if mark not in text or mark in before]
    declared[:] = [name for name in declared if name not in added or name in (stored or ())]
    if not declared and stored is None:
        del document["stac_extensions"]


# --- Patches ----------------------------------------------------------------------------------------------------------


def with_bbox(patch: Edit) -> Edit:
    """Return a patch that computes an item's bbox if it changes the geometry and leaves the bbox as it was."""

    def patched(present: Document) -> Document:
        # As texts, because a JSON patch works in place.
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
    """Apply a merge patch (RFC 7396): objects are merged, null removes a member, all else replaces.

    Raises BadDocument: the patch holds what cannot be kept.
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

    Raises BadDocument: it is none, or what it makes is none. Raises Conflict: the document is not such as it expects.
    """
    check_storable(operations)
    if not isinstance(operations, list):
        raise BadDocument("", "expected an array of operations")
    patched: Any = present
    for number, operation in enumerate(operations):
        patched = _operated(patched, operation, f"/{number}")
    if not isinstance(patched, dict):
        raise BadDocument("", "the patch leaves no JSON object")
    return patched


def _operated(document: Any, operation: Any, pointer: str) -> Any:
    try:
        patched = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    except (jsonpatch.JsonPatchConflict, jsonpatch.JsonPatchTestFailed, jsonpointer.JsonPointerException) as error:
        raise Conflict(f"{pointer}: {str(error)[:_SHOWN]}") from error
    except (jsonpatch.JsonPatchException, TypeError, AttributeError) as error:
        raise BadDocument(pointer, f"is no operation of a JSON patch: {str(error)[:_SHOWN]}") from error
    # Copies of copies double with each line.
    if operation["op"] == "copy" and len(orjson.dumps(patched)) > current.settings().max_body:
        raise BadDocument(pointer, "makes the document too large")
    return patched
