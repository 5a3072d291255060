"""Changes to what is kept: they are made to what GET shows of it, and what GET withholds is put back afterwards.

So nobody learns by a patch where the bytes are, and whoever reads, edits and sends back loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import unquote

import jsonpatch
import jsonpointer
import orjson

from stacflask import current
from stacflask.api import address, authentication
from stacflask.catalog import documents
from stacflask.errors import BadDocument, Conflict
from stacflask.stac.storable import check_storable
from stacflask.values import Document, Record

Edit: TypeAlias = Callable[[Document], Document]
"""From what GET shows to what shall be kept."""

_SHOWN = 200


def edited(edit: Edit, present: Record, rendered: bytes, url: str) -> Document:
    """Make a change to a record, which GET shows at ``url`` as ``rendered``. Raises BadDocument, Conflict."""
    shown = orjson.loads(rendered)
    kept = documents.original(present.body)
    document = edit(orjson.loads(rendered))
    # Whoever reads under one name of this server may write under another.
    path = url.removeprefix(address.base_url())
    _put_assets_back(document.get("assets"), kept.get("assets") or {}, shown.get("assets") or {}, f"{path}/download/")
    _put_links_back(document.get("links"), kept["links"], shown["links"], path)
    _put_members_back(document, kept, shown)
    told = authentication.told()
    if told is not None:
        told.out_of(document, kept)
    return document


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
    return isinstance(link, dict) and link.get("rel") == "self" and str(link.get("href")).endswith(path)


def _put_assets_back(assets: Any, kept: Document, shown: Document, below: str) -> None:
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        href = asset.get("href") if isinstance(asset, dict) else None
        if not isinstance(href, str):
            continue
        _, ours, told = href.rpartition(below)
        origin = unquote(told) if ours else key
        if origin in kept and (ours or href == kept[origin]["href"]):
            _put_back(asset, kept[origin], shown[origin])


def _put_back(asset: Document, kept: Document, shown: Document) -> None:
    asset["href"] = kept["href"]
    before, seen, sent = (one.get("alternate") or {} for one in (kept, shown, asset))
    if before == seen or not isinstance(sent, dict):
        return
    withheld = {name: entry for name, entry in before.items() if name not in seen}
    # Under a setting GET shows more than what is kept, perhaps in its place.
    unchanged = {name for name, entry in sent.items() if name in seen and entry == seen[name]}
    given = {name: before.get(name) if name in unchanged else entry for name, entry in sent.items()}
    asset["alternate"] = withheld | {name: entry for name, entry in given.items() if entry is not None}
    if not asset["alternate"]:
        del asset["alternate"]


# --- Patches ----------------------------------------------------------------------------------------------------------


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
