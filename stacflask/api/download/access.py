"""Find and authorize the asset of a request."""

import re

from stacflask import current
from stacflask.errors import NotFound
from stacflask.model.asset import Asset
from stacflask.model.decision import Grant

MAX_PATH_LENGTH = 1024
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


def granted(collection: str, item: str | None, key: str) -> Grant:
    """Return a grant for an asset, or for a file in a directory asset. Raises NotFound, Refused."""
    asset = current.catalog().asset(collection, item, key, current.restriction())
    _check_path(asset, key)
    grant = current.gate().authorize(current.principal(), asset)
    if not asset.path and current.catalog().directories(asset.href, asset.media_type):
        raise NotFound("This asset is a directory. Append the path of a file in it to the URL.", code="DirectoryAsset")
    return grant


def _check_path(asset: Asset, key: str) -> None:
    """Check that a path leads to a file below its directory. Raises NotFound, as for a file that does not exist."""
    steps = asset.path.split("/") if asset.path else []
    if len(asset.path) > MAX_PATH_LENGTH or _FORBIDDEN.search(asset.path) or {"", ".", ".."}.intersection(steps):
        raise NotFound(f"There is no asset {key!r} that can be downloaded.")
