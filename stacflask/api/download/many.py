"""List the downloads of items or of a search, with URLs, sizes, file names and checksums."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from flask import Response, request
from marshmallow import ValidationError

from stacflask import current
from stacflask.api.documents import page_links, render, signed_hrefs, stac_links
from stacflask.api.download import manifests
from stacflask.api.download.manifests import JSON, METALINK, PLAIN, Entry, Manifest, Missing
from stacflask.api.http import bodies, public_url, responses
from stacflask.api.http.document_schemas import REFUSAL_LINKS
from stacflask.api.http.openapi import TEXT, array, content, nullable, obj, query, ref, response_object
from stacflask.api.parameters import known_names
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.parameters.search_parameters import SearchBody
from stacflask.errors import BadDocument, BadQuery, TooManyItems
from stacflask.model.asset import Asset
from stacflask.model.decision import Decision, Grant
from stacflask.model.json_types import Document
from stacflask.model.page import Record
from stacflask.model.query import ItemQuery

bp = Blueprint("downloads", __name__, description="Many downloads at once")

FORMAT = "f"
_KEYS = array(TEXT, description="Only assets with these keys.")
_ROLES = array(TEXT, description="Only assets with one of these roles.")
_ITEM = {**obj(["collection", "id"], collection=TEXT, id=TEXT, assets=nullable(_KEYS)), "additionalProperties": False}
_ITEMS = "Items, each with the members collection and id, and optionally assets, a list of keys."
SELECTION = {
    **obj(
        [],
        items=nullable(array(_ITEM, minItems=1, description=_ITEMS)),
        search={
            "allOf": [ref("SearchBody")],
            "nullable": True,
            "description": "A search. A JSON manifest has one page of it; the other formats have all pages.",
        },
        assets=nullable(_KEYS),
        roles=nullable(_ROLES),
    ),
    "additionalProperties": False,
    "description": "Either items or a search.",
}
_ASSET_ID = {"collection": TEXT, "item": TEXT, "asset": TEXT}
_COUNT = {"type": "integer", "minimum": 0}
MANIFEST = obj(
    ["downloads", "refused", "numberReturned", "size", "links"],
    downloads=array(
        obj(
            ["collection", "asset", "href", "name"],
            **_ASSET_ID,
            href=TEXT,
            expires={**TEXT, "format": "date-time", "description": "When the URL expires, if it does."},
            name={**TEXT, "description": "A unique relative path for the file."},
            type=TEXT,
            size=_COUNT,
            checksum={**TEXT, "description": "A multihash, as `file:checksum`."},
        )
    ),
    refused=array(
        obj(["collection", "code", "description"], **_ASSET_ID, code=TEXT, description=TEXT, links=REFUSAL_LINKS)
    ),
    numberReturned=_COUNT,
    size={**_COUNT, "description": "Sum of the sizes in bytes of the assets that have a size."},
    links=array(ref("Link")),
)
LISTED = response_object("The assets that can and cannot be downloaded.", None)
LISTED["content"] = content(MANIFEST, JSON) | content(TEXT, METALINK, PLAIN)
FORMATS = query(
    FORMAT,
    "json, metalink, list (URLs) or aria2 (its input file). Only JSON has the assets that cannot be downloaded; the "
    "other formats have their number in X-Refused-Assets.",
    {**TEXT, "enum": ["json", *manifests.FORMATS]},
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The requested assets. The keys of an item take precedence over ``keys``."""

    items: dict[tuple[str, str], frozenset[str] | None]
    search: Document | None
    keys: frozenset[str] | None
    roles: frozenset[str] | None

    def includes(self, asset: Asset) -> bool:
        """Return whether the selection includes an asset."""
        own = self.items.get((asset.collection, asset.item or ""))
        keys = self.keys if own is None else own
        if keys is not None and asset.key not in keys:
            return False
        return self.roles is None or not self.roles.isdisjoint(asset.roles)

    def missing(self, found: Mapping[tuple[str, str], Sequence[Asset]]) -> Iterator[Missing]:
        """Return the requested items, and assets of items, that do not exist."""
        for (collection, item), keys in self.items.items():
            assets = found.get((collection, item))
            if assets is None:
                detail = f"There is no item {item!r} in collection {collection!r}."
                yield Missing(collection, item, None, "NotFound", detail)
                continue
            for key in sorted((keys or frozenset()).difference(asset.key for asset in assets)):
                yield Missing(collection, item, key, "NotFound", f"There is no asset {key!r} that can be downloaded.")


@bp.route("/downloads", methods=["POST"])
@bp.takes_body(content(SELECTION))
@bp.describes(413, 415, parameters=[FORMATS, *signed_hrefs.DESCRIPTION], _200=LISTED)
def list_downloads() -> Response:
    """List the downloads of items or of a search."""
    format_name = _format()
    body = _body()
    selection = _selection(body)
    records, next_token = _find(selection, every_page=format_name != "json")
    found = {(record.collection, record.id): current.catalog().assets(record) for record in records}
    assets = [asset for assets_of_item in found.values() for asset in assets_of_item if selection.includes(asset)]
    manifest = _manifest(assets, list(selection.missing(found)), _links(next_token))
    return _response(manifest, format_name)


# --- Parameters ------------------------------------------------------------------------------------------------------


def _format() -> str:
    """Return the name of the requested format, by the parameter or else by Accept."""
    name = request.args.get(FORMAT)
    if name is None:
        best = request.accept_mimetypes.best_match([JSON, METALINK, PLAIN], JSON)
        return {METALINK: "metalink", PLAIN: "list"}.get(best, "json")
    if name != "json" and name not in manifests.FORMATS:
        raise BadQuery(FORMAT, f"expected json, {', '.join(manifests.FORMATS)}, got {name!r}")
    return name


def _body() -> Document:
    bodies.expect(JSON)
    return {name: value for name, value in bodies.an_object(exact=True).items() if value is not None}


def _selection(body: Document) -> Selection:
    """Return the selection of a request body. Raises BadDocument."""
    for name in body.keys() - {"items", "search", "assets", "roles"}:
        raise BadDocument(f"/{name}", "unknown member; expected items, search, assets or roles")
    if ("items" in body) == ("search" in body):
        raise BadDocument("", "expected either items or search")
    search = body.get("search")
    if search is not None and not isinstance(search, dict):
        raise BadDocument("/search", "expected an object, as in the body of a search")
    return Selection(_items(body.get("items", [])), search, _strings(body, "assets"), _strings(body, "roles"))


def _items(value: Any) -> dict[tuple[str, str], frozenset[str] | None]:
    limit = current.settings().max_limit
    if not isinstance(value, list) or len(value) > limit:
        raise BadDocument("/items", f"expected an array of up to {limit} items")
    found: dict[tuple[str, str], frozenset[str] | None] = {}
    for number, item in enumerate(value):
        members = item if isinstance(item, dict) else {}
        collection, identifier = members.get("collection"), members.get("id")
        if members.keys() - {"collection", "id", "assets"} or not (_is_string(collection) and _is_string(identifier)):
            raise BadDocument(f"/items/{number}", "expected an object with collection and id, and optionally assets")
        item_id, keys = (str(collection), str(identifier)), _strings(members, "assets", f"/items/{number}")
        before = found.get(item_id, frozenset())  # An item can occur once for each of its assets.
        found[item_id] = None if keys is None or before is None else before | keys
    return found


def _strings(members: Document, name: str, pointer: str = "") -> frozenset[str] | None:
    strings = members.get(name)
    if strings is None:
        return None
    if not isinstance(strings, list) or not all(_is_string(string) for string in strings):
        raise BadDocument(f"{pointer}/{name}", "expected an array of strings")
    return frozenset(strings)


def _is_string(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


# --- Items -----------------------------------------------------------------------------------------------------------


def _find(selection: Selection, *, every_page: bool) -> tuple[list[Record], str | None]:
    """Return the items in the requested order, and the token of the next page of a search.

    Raises TooManyItems if every page is requested, and there are too many items.
    """
    catalog, restriction = current.catalog(), current.restriction()
    if selection.search is not None:
        item_query = _search(selection.search)
        if every_page:
            return _every_page(item_query), None
        page = catalog.search(item_query, restriction)
        return list(page.records), page.next
    by_collection: dict[str, list[str]] = {}
    for collection, item in selection.items:
        by_collection.setdefault(collection, []).append(item)
    records = {}
    for collection, ids in by_collection.items():
        item_query = ItemQuery(len(ids), collections=(collection,), ids=tuple(ids))
        records.update(
            {(record.collection, record.id): record for record in catalog.search(item_query, restriction).records}
        )
    return [records[item_id] for item_id in selection.items if item_id in records], None


def _every_page(item_query: ItemQuery) -> list[Record]:
    """Return the items of all pages of a search, because a list of URLs has no next link.

    Items are counted before any URL is signed or charged. Raises TooManyItems.
    """
    limit = current.settings().manifest_limit
    item_query = replace(item_query, limit=min(limit, current.settings().max_limit))
    records: list[Record] = []
    while True:
        page = current.catalog().search(item_query, current.restriction())
        records += page.records
        if page.next is None and len(records) <= limit:
            return records
        if len(records) >= limit:
            raise TooManyItems(
                f"The search finds more than {limit} items, which is too many for this format. Narrow the search, "
                f"or request it page by page as JSON ({FORMAT}=json)."
            )
        item_query = replace(item_query, token=page.next)


def _search(body: Document) -> ItemQuery:
    """Return the query of a search, as ``POST /search`` does. Raises BadDocument, BadQuery."""
    try:
        item_query: ItemQuery = SearchBody().load(body)
    except ValidationError as error:
        name, problem = next(iter(dict(error.messages_dict).items()))
        raise BadDocument(f"/search/{name}", str(problem[0] if isinstance(problem, list) else problem)) from error
    known_names.check(item_query)
    return item_query


def _links(token: str | None) -> list[stac_links.Link]:
    if token is None:
        return []
    return [stac_links.link("next", public_url.request_url(), method="POST", body=page_links.body_of_next(token))]


# --- Manifests -------------------------------------------------------------------------------------------------------


def _manifest(assets: Sequence[Asset], missing: Sequence[Missing], links: Sequence[stac_links.Link]) -> Manifest:
    is_directory = current.catalog().directories
    files = [asset for asset in assets if not is_directory(asset.href, asset.media_type)]
    principal = current.principal()
    results = current.gate().authorize_each(principal, files)
    refusals = [
        manifests.refused(asset, result, anonymous=principal.anonymous)
        for asset, result in zip(files, results, strict=True)
        if not isinstance(result, Grant)
    ]
    directories = [_directory(asset) for asset in assets if is_directory(asset.href, asset.media_type)]
    return Manifest(list(_entries(results)), [*missing, *refusals, *directories], links)


def _entries(results: Sequence[Grant | Decision]) -> Iterator[Entry]:
    grants = [result for result in results if isinstance(result, Grant)]
    signed = signed_hrefs.signed_grants(grants) if signed_hrefs.requested() else signed_hrefs.NONE
    for grant, name in zip(grants, manifests.names(grant.asset for grant in grants), strict=True):
        signed_href = signed.get(signed_hrefs.asset_id(grant.asset))
        href, expires = signed_href or (signed_hrefs.download_url(grant.asset), None)
        yield Entry(_as_stated(grant), href, expires, name)


def _as_stated(grant: Grant) -> Asset:
    """Return an asset without size and checksum if its stream can be transformed, because clients compare them."""
    asset = grant.asset
    if not current.gate().may_transform(grant):
        return asset
    properties = {name: value for name, value in asset.properties.items() if name != "file:checksum"}
    return replace(asset, size=None, properties=properties)


def _directory(asset: Asset) -> Missing:
    detail = f"This asset is a directory. Its files are below {signed_hrefs.download_url(asset)}/."
    return Missing(asset.collection, asset.item, asset.key, "DirectoryAsset", detail)


def _response(manifest: Manifest, format_name: str) -> Response:
    if format_name == "json":
        response = responses.reply(orjson.dumps(manifests.as_json(manifest)))
    else:
        media_type, write = manifests.FORMATS[format_name]
        text = media_type if media_type == METALINK else f"{media_type}; charset=utf-8"
        response = responses.reply(write(manifest).encode(), text)
    response.headers["X-Refused-Assets"] = str(len(manifest.missing))
    response.vary.add("Accept")
    return render.never_cached(response)
