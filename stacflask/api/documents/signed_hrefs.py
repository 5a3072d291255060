"""Hrefs that are ready to use: presigned by the store, or made to work without headers by a plugin, and when they end.

Each passes through the same decisions as a download. What somebody counts is not presigned, since it must come by here:
its address is lent, and charged when it is used. What is presigned is charged at once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from flask import request

from stacflask import current
from stacflask.api.http import public_url
from stacflask.api.http.openapi import TEXT, header, query
from stacflask.errors import BadQuery, Refused
from stacflask.model.decision import Grant
from stacflask.model.delivery import ByteRange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacflask.gate import Gate
    from stacflask.model.asset import Asset

PARAMETER, FIELD = "hrefs", "X-Signed-Asset-Urls"
CHOICES = ("download", "signed")
DESCRIPTION = (
    query(
        PARAMETER,
        "signed: assets' hrefs are ready to use without headers, until `href:expires`; those of assets that may not be "
        "taken stay as they are.",
        {**TEXT, "enum": list(CHOICES)},
    ),
    header(FIELD, "true: the same as hrefs=signed."),
)


class Signed(NamedTuple):
    """An address that needs no headers, and until when it is good."""

    href: str
    expires: str


Place = tuple[str, str | None, str]
NONE: Mapping[Place, Signed] = MappingProxyType({})


def requested() -> bool:
    """Whether the request at hand asks for signed hrefs. Raises BadQuery."""
    choice = request.args.get(PARAMETER)
    if choice is not None:
        if choice not in CHOICES:
            raise BadQuery(PARAMETER, f"expected {' or '.join(CHOICES)}, not {choice!r}")
        return choice == "signed"
    return request.headers.get(FIELD, "").strip().lower() == "true"


def asked() -> str:
    """Return the query by which the request at hand asks for a kind of hrefs, or nothing."""
    return f"?{PARAMETER}={request.args[PARAMETER]}" if PARAMETER in request.args else ""


def place(asset: Asset) -> Place:
    """Name an asset within the catalogue."""
    return asset.collection, asset.item, asset.key


def download_url(asset: Asset) -> str:
    """Give an asset's download address."""
    return _downloads(public_url.base_url(), asset.collection, asset.item) + public_url.segment(asset.key)


@lru_cache(maxsize=4096)
def _downloads(base: str, collection: str, item: str | None) -> str:
    """Give how the download addresses of a collection's own assets, or of an item's, begin."""
    of = f"{base}/collections/{public_url.segment(collection)}"
    return f"{of}/download/" if item is None else f"{of}/items/{public_url.segment(item)}/download/"


def signed(assets: Sequence[Asset]) -> dict[Place, Signed]:
    """Sign what may be taken of these assets. Directories have no address of their own to be signed."""
    is_directory = current.catalog().directories
    files = [asset for asset in assets if not is_directory(asset.href, asset.media_type)]
    weighed = current.gate().authorize_each(current.principal(), files)
    return signed_grants([one for one in weighed if isinstance(one, Grant)])


def signed_grants(grants: Sequence[Grant]) -> dict[Place, Signed]:
    """Sign what was granted: by its store where that can be, else by what a plugin lends."""
    gate, streamed = current.gate(), current.settings().stream_collections
    others: list[Grant] = []
    own: list[Grant] = []
    for grant in grants:
        passing = grant.decision.counted or grant.asset.collection in streamed
        (others if passing else own).append(grant)
    found: dict[Place, Signed] = {}
    ends = _Ends()
    # HEAD hands nothing out.
    charged = request.method != "HEAD" and gate.records_downloads
    for grant, redirect in zip(own, gate.presign(own), strict=True):
        if redirect is None:
            others.append(grant)
        elif not charged or _charged(gate, grant):
            found[place(grant.asset)] = Signed(redirect.url, ends[redirect.lifetime])
    return found | _lent(gate, others, ends)


def _charged(gate: Gate, grant: Grant) -> bool:
    try:
        gate.charge(grant, ByteRange(0, grant.asset.size, grant.asset.size), "redirect")
    except Refused:
        return False
    return True


def _lent(gate: Gate, grants: Sequence[Grant], ends: _Ends) -> dict[Place, Signed]:
    signed_queries = gate.sign_queries(current.principal(), grants) if grants else None
    if signed_queries is None:
        return {}
    expires = ends[signed_queries.lifetime]
    return {
        place(grant.asset): Signed(f"{download_url(grant.asset)}?{text}", expires)
        for grant, text in zip(grants, signed_queries.queries, strict=True)
    }


class _Ends(dict[timedelta, str]):
    """When what is signed now ends, by its lifetime. The beginning is that of the request: never too late."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def __missing__(self, lifetime: timedelta) -> str:
        self[lifetime] = written = (self._now + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return written
