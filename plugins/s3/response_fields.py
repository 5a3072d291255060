"""Query fields of presigned URLs that set header fields of the store's response."""

import re
from functools import lru_cache

from stacflask import Asset, content_disposition

from .presign import encoded

MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+( *; *[\w.+-]+=(\"[\w .+/:-]*\"|[\w.+-]+))*", re.ASCII)


def response_fields(asset: Asset, filename: str) -> str:
    """Return the query fields that set Content-Disposition and Content-Type of the store's response."""
    # A simple name needs no encoding. This is faster, and almost every asset has a different name.
    disposition = filename.join(AROUND_NAME) if SIMPLE_NAME.fullmatch(filename) else _disposition(filename)
    return disposition + _content_type(asset.media_type)


def _disposition(filename: str) -> str:
    return encoded({"response-content-disposition": content_disposition(filename)})


@lru_cache(maxsize=1024)
def _content_type(media_type: str | None) -> str:
    if not media_type or not MEDIA_TYPE.fullmatch(media_type):
        return ""
    return "&" + encoded({"response-content-type": media_type})


SIMPLE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
AROUND_NAME = _disposition("NAME").split("NAME")
"""The text before, between and after the two occurrences of a simple name."""
