"""Hrefs that work without headers, with their expiry: presigned by the store, or signed by a plugin.

Each is authorized like a download. An asset whose downloads are counted is not presigned, because its requests must
reach this server: a plugin signs its download URL, and each use is charged. A presigned asset is charged at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from flask import request

from stacflask import current
from stacflask.api.http import public_url
from stacflask.api.http.openapi import TEXT, header, query
from stacflask.errors import BadQuery, Refused
from stacflask.gate import Gate
from stacflask.model.asset import Asset
from stacflask.model.decision import Grant
from stacflask.model.delivery import ByteRange

PARAMETER, FIELD = "hrefs", "X-Signed-Asset-Urls"
CHOICES = ("download", "signed")
DESCRIPTION = (
    query(
        PARAMETER,
        "signed: hrefs of assets work without header fields until `href:expires`. Hrefs of assets that you may not "
        "download stay unchanged.",
        {**TEXT, "enum": list(CHOICES)},
    ),
    header(FIELD, "true: same as hrefs=signed."),
)


class Signed(NamedTuple):
    """A URL that works without headers, and its time of expiry (RFC 3339)."""

    href: str
    expires: str


AssetId = tuple[str, str | None, str]
NONE: Mapping[AssetId, Signed] = MappingProxyType({})


def requested() -> bool:
    """Return whether the current request has hrefs=signed. Raises BadQuery."""
    choice = request.args.get(PARAMETER)
    if choice is not None:
        if choice not in CHOICES:
            raise BadQuery(PARAMETER, f"expected {' or '.join(CHOICES)}, got {choice!r}")
        return choice == "signed"
    return request.headers.get(FIELD, "").strip().lower() == "true"


def query_string() -> str:
    """Return the query string of the current request as far as it concerns hrefs, or an empty string."""
    return f"?{PARAMETER}={request.args[PARAMETER]}" if PARAMETER in request.args else ""


def asset_id(asset: Asset) -> AssetId:
    """Return the key of an asset in a mapping."""
    return asset.collection, asset.item, asset.key


def download_url(asset: Asset) -> str:
    """Return an asset's download URL."""
    return _download_base(public_url.base_url(), asset.collection, asset.item) + public_url.segment(asset.key)


@lru_cache(maxsize=4096)
def _download_base(base: str, collection: str, item: str | None) -> str:
    """Return the beginning of the download URLs of a collection's or an item's assets."""
    of = f"{base}/collections/{public_url.segment(collection)}"
    return f"{of}/download/" if item is None else f"{of}/items/{public_url.segment(item)}/download/"


def signed(assets: Sequence[Asset]) -> dict[AssetId, Signed]:
    """Sign the hrefs of those assets that the user may download. Directories are skipped: they have no URL to sign."""
    is_directory = current.catalog().directories
    files = [asset for asset in assets if not is_directory(asset.href, asset.media_type)]
    results = current.gate().authorize_each(current.principal(), files)
    return signed_grants([result for result in results if isinstance(result, Grant)])


def signed_grants(grants: Sequence[Grant]) -> dict[AssetId, Signed]:
    """Sign the hrefs of granted assets: by the store if possible, otherwise by a plugin."""
    gate, streamed = current.gate(), current.settings().stream_collections
    through_server: list[Grant] = []
    from_store: list[Grant] = []
    for grant in grants:
        must_pass = grant.decision.counted or grant.asset.collection in streamed
        (through_server if must_pass else from_store).append(grant)
    found: dict[AssetId, Signed] = {}
    expiry = _Expiry()
    # A response to HEAD has no hrefs, so nothing is charged.
    charged = request.method != "HEAD" and gate.records_downloads
    for grant, redirect in zip(from_store, gate.presign(from_store), strict=True):
        if redirect is None:
            through_server.append(grant)
        elif not charged or _charged(gate, grant):
            found[asset_id(grant.asset)] = Signed(redirect.url, expiry[redirect.lifetime])
    return found | _signed_by_plugin(gate, through_server, expiry)


def _charged(gate: Gate, grant: Grant) -> bool:
    try:
        gate.charge(grant, ByteRange(0, grant.asset.size, grant.asset.size), "redirect")
    except Refused:
        return False
    return True


def _signed_by_plugin(gate: Gate, grants: Sequence[Grant], expiry: _Expiry) -> dict[AssetId, Signed]:
    signed_queries = gate.sign_queries(current.principal(), grants) if grants else None
    if signed_queries is None:
        return {}
    expires = expiry[signed_queries.lifetime]
    return {
        asset_id(grant.asset): Signed(f"{download_url(grant.asset)}?{text}", expires)
        for grant, text in zip(grants, signed_queries.queries, strict=True)
    }


class _Expiry(dict[timedelta, str]):
    """Time of expiry by lifetime. It counts from the creation of this object, so it is never too late."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def __missing__(self, lifetime: timedelta) -> str:
        self[lifetime] = formatted = (self._now + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return formatted
