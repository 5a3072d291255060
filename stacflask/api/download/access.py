"""The asset that a request is about, once it is seen and granted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stacflask import current
from stacflask.errors import NotFound

if TYPE_CHECKING:
    from stacflask.model.asset import Asset
    from stacflask.model.decision import Grant

LONGEST_PATH = 1024
_NO_PATH = re.compile(r"[\x00-\x1f\x7f\\]")


def granted(collection: str, item: str | None, key: str) -> Grant:
    """Find an asset, or a file in one that is a directory, and have it granted. Raises NotFound, Refused."""
    asset = current.catalog().asset(collection, item, key, current.restriction())
    _check_path(asset, key)
    grant = current.gate().authorize(current.principal(), asset)
    if not asset.path and current.catalog().directories(asset.href, asset.media_type):
        raise NotFound("This asset is a directory: ask for a file below it.", code="DirectoryAsset")
    return grant


def _check_path(asset: Asset, key: str) -> None:
    """See that a path leads down into its directory, step by step. Raises NotFound, as for any file that is not."""
    steps = asset.path.split("/") if asset.path else []
    if len(asset.path) > LONGEST_PATH or _NO_PATH.search(asset.path) or {"", ".", ".."}.intersection(steps):
        raise NotFound(f"There is no asset {key!r} to be downloaded.")
