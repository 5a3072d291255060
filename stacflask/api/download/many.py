"""Many downloads at once: what may be taken of items or of a search, with addresses, sizes, names and checksums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request
from marshmallow import ValidationError

from stacflask import current
from stacflask.api.documents import page_links, render, signed_hrefs, stac_links
from stacflask.api.download import manifests
from stacflask.api.download.manifests import JSON, METALINK, PLAIN, Entry, Manifest, Missing
from stacflask.api.http import bodies, public_url, responses
from stacflask.api.http.openapi import TEXT, array, content, nullable, obj, query, ref, response_object
from stacflask.api.parameters import known_names
from stacflask.api.parameters.blueprints import Blueprint
from stacflask.api.parameters.search_parameters import SearchBody
from stacflask.errors import BadDocument, BadQuery, TooManyItems
from stacflask.model.decision import Grant
from stacflask.model.query import ItemQuery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stacflask.model.asset import Asset
    from stacflask.model.decision import Decision
    from stacflask.model.json_types import Document
    from stacflask.model.page import Record

bp = Blueprint("downloads", __name__, description="Many downloads at once")

FORM = "f"
_KEYS = array(TEXT, description="Only assets with these keys.")
_ROLES = array(TEXT, description="Only assets with one of these roles.")
_ITEM = {**obj(["collection", "id"], collection=TEXT, id=TEXT, assets=nullable(_KEYS)), "additionalProperties": False}
WISH = {
    **obj(
        [],
        items=nullable(array(_ITEM, minItems=1)),
        search={
            "allOf": [ref("SearchBody")],
            "nullable": True,
            "description": "A search. As JSON, a page of it is listed; in the other forms, all of it.",
        },
        assets=nullable(_KEYS),
        roles=nullable(_ROLES),
    ),
    "additionalProperties": False,
    "description": "Either items or a search.",
}
_PLACE = {"collection": TEXT, "item": TEXT, "asset": TEXT}
_COUNT = {"type": "integer", "minimum": 0}
ANSWER = obj(
    ["downloads", "refused", "numberReturned", "size", "links"],
    downloads=array(
        obj(
            ["collection", "asset", "href", "name"],
            **_PLACE,
            href=TEXT,
            expires={**TEXT, "format": "date-time", "description": "When the address ends, if it does."},
            name={**TEXT, "description": "A relative path to save it under; no two are alike."},
            type=TEXT,
            size=_COUNT,
            checksum={**TEXT, "description": "A multihash, as `file:checksum`."},
        )
    ),
    refused=array(obj(["collection", "code", "description"], **_PLACE, code=TEXT, description=TEXT)),
    numberReturned=_COUNT,
    size={**_COUNT, "description": "Bytes, as far as the assets say."},
    links=array(ref("Link")),
)
LISTED = response_object("What may be taken, and what may not.", None)
LISTED["content"] = content(ANSWER, JSON) | content(TEXT, METALINK, PLAIN)
FORMS = query(
    FORM,
    "metalink, list (addresses alone) or aria2 (its input file): instead of JSON. Only JSON tells what is refused; the "
    "others tell how many in X-Refused-Assets.",
    {**TEXT, "enum": ["json", *manifests.FORMS]},
)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which assets of which items: ``keys`` of an item come before those of all."""

    items: dict[tuple[str, str], frozenset[str] | None]
    search: Document | None
    keys: frozenset[str] | None
    roles: frozenset[str] | None

    def wants(self, asset: Asset) -> bool:
        """Whether an asset is asked for."""
        own = self.items.get((asset.collection, asset.item or ""))
        keys = self.keys if own is None else own
        if keys is not None and asset.key not in keys:
            return False
        return self.roles is None or not self.roles.isdisjoint(asset.roles)

    def absent(self, found: Mapping[tuple[str, str], Sequence[Asset]]) -> Iterator[Missing]:
        """Tell which items, and which assets named for an item, are not there."""
        for (collection, item), keys in self.items.items():
            assets = found.get((collection, item))
            if assets is None:
                told = f"There is no item {item!r} in collection {collection!r}."
                yield Missing(collection, item, None, "NotFound", told)
                continue
            for key in sorted((keys or frozenset()).difference(asset.key for asset in assets)):
                yield Missing(collection, item, key, "NotFound", f"There is no asset {key!r} to be downloaded.")


@bp.route("/downloads", methods=["POST"])
@bp.takes_body(content(WISH))
@bp.describes(413, 415, parameters=[FORMS, *signed_hrefs.DESCRIPTION], _200=LISTED)
def list_downloads() -> Response:
    """List what may be taken of items, or of a search."""
    form = _form()
    body = _body()
    wish = _wish(body)
    records, next_token = _found(wish, every_page=form != "json")
    found = {(record.collection, record.id): current.catalog().assets(record) for record in records}
    assets = [asset for several in found.values() for asset in several if wish.wants(asset)]
    manifest = _manifest(assets, list(wish.absent(found)), _links(next_token))
    return _answer(manifest, form)


# --- Reading ---------------------------------------------------------------------------------------------------------


def _form() -> str:
    """Say in which form: by parameter, else by Accept."""
    form = request.args.get(FORM)
    if form is None:
        best = request.accept_mimetypes.best_match([JSON, METALINK, PLAIN], JSON)
        return {METALINK: "metalink", PLAIN: "list"}.get(best, "json")
    if form != "json" and form not in manifests.FORMS:
        raise BadQuery(FORM, f"expected json, {', '.join(manifests.FORMS)}, not {form!r}")
    return form


def _body() -> Document:
    bodies.expect(JSON)
    return {name: value for name, value in bodies.an_object(exact=True).items() if value is not None}


def _wish(body: Document) -> Wish:
    """Read what is asked for. Raises BadDocument."""
    for name in body.keys() - {"items", "search", "assets", "roles"}:
        raise BadDocument(f"/{name}", "unknown here; there are items, search, assets, roles")
    if ("items" in body) == ("search" in body):
        raise BadDocument("", "expected either items or search")
    search = body.get("search")
    if search is not None and not isinstance(search, dict):
        raise BadDocument("/search", "expected an object: the body of a search")
    return Wish(_items(body.get("items", [])), search, _words(body, "assets"), _words(body, "roles"))


def _items(given: Any) -> dict[tuple[str, str], frozenset[str] | None]:
    most = current.settings().max_limit
    if not isinstance(given, list) or len(given) > most:
        raise BadDocument("/items", f"expected an array of up to {most} items")
    found: dict[tuple[str, str], frozenset[str] | None] = {}
    for number, item in enumerate(given):
        place = item if isinstance(item, dict) else {}
        collection, identifier = place.get("collection"), place.get("id")
        if place.keys() - {"collection", "id", "assets"} or not (_is_word(collection) and _is_word(identifier)):
            raise BadDocument(f"/items/{number}", "expected an object with collection and id, and perhaps assets")
        at, keys = (str(collection), str(identifier)), _words(place, "assets", f"/items/{number}")
        before = found.get(at, frozenset())  # an item may be named once for each of its assets
        found[at] = None if keys is None or before is None else before | keys
    return found


def _words(members: Document, name: str, pointer: str = "") -> frozenset[str] | None:
    words = members.get(name)
    if words is None:
        return None
    if not isinstance(words, list) or not all(_is_word(word) for word in words):
        raise BadDocument(f"{pointer}/{name}", "expected an array of texts")
    return frozenset(words)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


# --- Finding ---------------------------------------------------------------------------------------------------------


def _found(wish: Wish, *, every_page: bool) -> tuple[list[Record], str | None]:
    """Find the items, in the order in which they are asked for, and the token of a search's next page.

    Raises TooManyItems: every page is asked for, and there are too many.
    """
    catalog, restriction = current.catalog(), current.restriction()
    if wish.search is not None:
        asked = _search(wish.search)
        if every_page:
            return _every_page(asked), None
        page = catalog.search(asked, restriction)
        return list(page.records), page.next
    by_collection: dict[str, list[str]] = {}
    for collection, item in wish.items:
        by_collection.setdefault(collection, []).append(item)
    found = {}
    for collection, ids in by_collection.items():
        asked = ItemQuery(len(ids), collections=(collection,), ids=tuple(ids))
        found.update({(record.collection, record.id): record for record in catalog.search(asked, restriction).records})
    return [found[place] for place in wish.items if place in found], None


def _every_page(asked: ItemQuery) -> list[Record]:
    """Find the items of a search and of all pages behind it, since a list of addresses alone has no next link.

    Nothing is signed or charged before it is known that they are not too many. Raises TooManyItems.
    """
    most = current.settings().manifest_limit
    asked = replace(asked, limit=min(most, current.settings().max_limit))
    records: list[Record] = []
    while True:
        page = current.catalog().search(asked, current.restriction())
        records += page.records
        if page.next is None and len(records) <= most:
            return records
        if len(records) >= most:
            raise TooManyItems(
                f"The search finds more than {most} items, which is too many for a list in this form. Narrow the "
                f"search, or read it page by page as JSON ({FORM}=json)."
            )
        asked = replace(asked, token=page.next)


def _search(body: Document) -> ItemQuery:
    """Read a search as its own address does. Raises BadDocument, BadQuery."""
    try:
        asked: ItemQuery = SearchBody().load(body)
    except ValidationError as error:
        name, problem = next(iter(dict(error.messages_dict).items()))
        raise BadDocument(f"/search/{name}", str(problem[0] if isinstance(problem, list) else problem)) from error
    known_names.check(asked)
    return asked


def _links(token: str | None) -> list[stac_links.Link]:
    if token is None:
        return []
    return [stac_links.link("next", public_url.request_url(), method="POST", body=page_links.body_of_next(token))]


# --- Weighing and telling --------------------------------------------------------------------------------------------


def _manifest(assets: Sequence[Asset], absent: Sequence[Missing], links: Sequence[stac_links.Link]) -> Manifest:
    is_directory = current.catalog().directories
    files = [asset for asset in assets if not is_directory(asset.href, asset.media_type)]
    principal = current.principal()
    weighed = current.gate().authorize_each(principal, files)
    refusals = [
        manifests.refused(asset, one, anonymous=principal.anonymous)
        for asset, one in zip(files, weighed, strict=True)
        if not isinstance(one, Grant)
    ]
    directories = [_directory(asset) for asset in assets if is_directory(asset.href, asset.media_type)]
    return Manifest(list(_entries(weighed)), [*absent, *refusals, *directories], links)


def _entries(weighed: Sequence[Grant | Decision]) -> Iterator[Entry]:
    grants = [one for one in weighed if isinstance(one, Grant)]
    signed = signed_hrefs.signed_grants(grants) if signed_hrefs.requested() else signed_hrefs.NONE
    for grant, name in zip(grants, manifests.names(grant.asset for grant in grants), strict=True):
        ready = signed.get(signed_hrefs.place(grant.asset))
        href, expires = ready or (signed_hrefs.download_url(grant.asset), None)
        yield Entry(grant.asset, href, expires, name)


def _directory(asset: Asset) -> Missing:
    told = f"This asset is a directory: its files are below {signed_hrefs.download_url(asset)}/."
    return Missing(asset.collection, asset.item, asset.key, "DirectoryAsset", told)


def _answer(manifest: Manifest, form: str) -> Response:
    if form == "json":
        response = responses.reply(orjson.dumps(manifests.as_json(manifest)))
    else:
        media_type, write = manifests.FORMS[form]
        text = media_type if media_type == METALINK else f"{media_type}; charset=utf-8"
        response = responses.reply(write(manifest).encode(), text)
    response.headers["X-Refused-Assets"] = str(len(manifest.missing))
    response.vary.add("Accept")
    return render.never_cached(response)
