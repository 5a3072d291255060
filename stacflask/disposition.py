"""File names of downloads, and the Content-Disposition header (RFC 6266)."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from mimetypes import guess_extension
from urllib.parse import quote, unquote, urlsplit

from stacflask.model.asset import Asset

DEFAULT_NAME = "download"
MAX_NAME_BYTES = 255
SEPARATORS = str.maketrans(dict.fromkeys('/\\"\u2028\u2029', "_"))
PERCENT = {ord("%"): "_"}
"""Old browsers decode percent signs."""
PERCENT_ENCODED_SCHEMES = ("http", "https", "ftp", "file")
SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
UNSAFE = re.compile(r"[^\w.-]+")
EXTENSION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,9}")
INNER_EXTENSION = re.compile(r"tar|[a-z]+json|json|xml|csv|txt|nii|tif|nc", re.IGNORECASE)
"""Extensions that are part of a double extension, such as ``.tar.gz``."""
EXTENSIONS = {
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "application/geo+json": ".geojson",
    "application/x-hdf5": ".h5",
}
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
"""Names that need no change. Almost all names match, and a page needs thousands."""


def content_disposition(filename: str) -> str:
    """Return a Content-Disposition value for a file name, in ASCII for old clients and in UTF-8 (RFC 6266, 4.3).

    The type is always ``attachment``, because HTML or SVG of a catalog's author must not run in the origin of this
    server. Images in pages, scripts and GIS programs ignore the type.

    Args:
        filename: The file name. Unsafe characters are replaced.
    """
    if SAFE_NAME.fullmatch(filename):
        return f"attachment; filename=\"{filename}\"; filename*=UTF-8''{filename}"
    name = _clean(filename) or DEFAULT_NAME
    return f"attachment; filename=\"{_ascii(name) or DEFAULT_NAME}\"; filename*=UTF-8''{quote(name, safe='')}"


def filename_of(asset: Asset) -> str:
    """Return the stored file name of an asset: that of its ``file:local_path``, else of its href, else its key.

    A file in a directory asset keeps its own name.

    Args:
        asset: The asset.
    """
    if asset.path:
        return _clean(asset.path.rpartition("/")[2]) or DEFAULT_NAME
    return _file_name(asset, _stored_path(asset))


def _stored_path(asset: Asset) -> str:
    local = asset.properties.get("file:local_path")
    return local if isinstance(local, str) else _path(asset.href)


def _file_name(asset: Asset, path: str) -> str:
    return _clean(path.rpartition("/")[2]) or _clean(asset.key) or DEFAULT_NAME


def download_name(asset: Asset) -> str:
    """Return the file name ``{item}_{asset}.{extension}`` of a single download, in safe characters.

    For an asset of a collection, the collection's id replaces the item's. An id at the beginning of the key, or a key
    at the end of the id, is not repeated. A file in a directory asset keeps its own name.
    """
    if asset.path:
        return filename_of(asset)
    extension = _extension(asset)
    item, key = asset.item or asset.collection, asset.key
    if extension and key.lower().endswith(extension.lower()):
        key = key[: -len(extension)]
    return _clean(f"{_stem(_safe(item), _safe(key)) or DEFAULT_NAME}{extension}") or DEFAULT_NAME


def _safe(word: str) -> str:
    return word if word.isalnum() else UNSAFE.sub("_", word).strip("_.-")


def _stem(item: str, key: str) -> str:
    """Join an item's id and an asset's key, unless one has the other as a whole word at that end."""
    low_item, low_key = item.casefold(), key.casefold()
    if not item or (low_key.startswith(low_item) and not low_key[len(low_item) :][:1].isalnum()):
        return key
    if not key or (low_item.endswith(low_key) and not low_item[: len(low_item) - len(low_key)][-1:].isalnum()):
        return item
    return f"{item}_{key}"


def _extension(asset: Asset) -> str:
    """Return the extension of the stored file with its dot, or else the usual extension of the media type."""
    path = _stored_path(asset)
    stem, dot, last = _file_name(asset, path).rpartition(".") if path else ("", "", "")
    if dot and EXTENSION.fullmatch(last):
        _, dot, before = stem.rpartition(".")
        return f".{before}.{last}" if dot and INNER_EXTENSION.fullmatch(before) else f".{last}"
    return _usual_extension(asset.media_type or "")


def _usual_extension(media_type: str) -> str:
    media_type = media_type.partition(";")[0].strip().lower()
    return EXTENSIONS.get(media_type) or guess_extension(media_type) or ""


def with_type(asset: Asset, media_type: str) -> Asset:
    """Return an asset with another media type, whose file names have the usual extension of that type."""
    extension = _usual_extension(media_type)
    local = asset.properties.get("file:local_path")
    path = local if isinstance(local, str) else filename_of(asset)
    if not extension:
        return replace(asset, media_type=media_type)
    properties = {**asset.properties, "file:local_path": re.sub(r"(?<=.)\.[^./]*$", "", path) + extension}
    return replace(asset, media_type=media_type, properties=properties)


def local_path(asset: Asset) -> str:
    """Return the relative path of an asset in a download of several: collection, item, and ``file:local_path`` or name.

    The item, or collection and item, at the beginning of a local path are not repeated.
    """
    local = asset.properties.get("file:local_path")
    steps = local.split("/") if isinstance(local, str) and not asset.path else []
    below = [step for step in map(_clean, steps) if step] or [filename_of(asset)]
    above = [_clean(name) or DEFAULT_NAME for name in (asset.collection, asset.item) if name]
    again = next((some for some in (above, above[-1:]) if below[: len(some)] == some and len(below) > len(some)), [])
    return "/".join(above + below[len(again) :])


def _path(href: str) -> str:
    """Return the path of an href. Only the paths of web URLs are percent-decoded; keys in a store are literal."""
    if href.startswith("s3://"):  # The usual scheme is not parsed, because a page needs thousands of names.
        return href.removeprefix("s3://").partition("/")[2]
    try:
        parts = urlsplit(href)
    except ValueError:
        return ""
    if parts.scheme in PERCENT_ENCODED_SCHEMES:
        return unquote(parts.path)
    return href.partition("://")[2].partition("/")[2] if "://" in href else SCHEME.sub("", href)


def _clean(name: str) -> str:
    """Remove invisible and control characters, and replace path separators and quotes."""
    if SAFE_NAME.fullmatch(name):
        return name
    if not name.isprintable():
        name = "".join(letter for letter in name if unicodedata.category(letter)[0] != "C")
    return _fit(name.translate(SEPARATORS))


def _ascii(name: str) -> str:
    if not name.isascii():
        # Normalization can produce quotes and slashes, so these are replaced after it.
        letters = (letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
        name = "".join(letter if " " <= letter <= "~" else "_" for letter in letters)
    return _fit(name.translate(SEPARATORS | PERCENT))


def _fit(name: str) -> str:
    """Shorten a name to the limit of most file systems, keeping its end. A name of dots becomes empty."""
    short = name.strip().encode()[-MAX_NAME_BYTES:].decode(errors="ignore").strip()
    return short if short.strip(".") else ""


FILE_NAMES: dict[str, Callable[[Asset], str]] = {"item": download_name, "stored": filename_of}
"""Functions that name single downloads, by the value of STACFLASK_FILE_NAMES."""
