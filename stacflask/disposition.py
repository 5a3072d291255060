"""The name that a download is saved under, and how HTTP says it (RFC 6266)."""

from __future__ import annotations

import re
import unicodedata
from mimetypes import guess_extension
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacflask.model.asset import Asset

NAMELESS = "download"
LONGEST = 255  # bytes, as in most file systems
BREAKS = str.maketrans(dict.fromkeys('/\\"\u2028\u2029', "_"))
MISLEADING = {ord("%"): "_"}  # old browsers decode it
ENCODED = ("http", "https", "ftp", "file")
SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
UNSAFE = re.compile(r"[^\w.-]+")
EXTENSION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,9}")
COMPRESSED = re.compile(r"tar|[a-z]+json|json|xml|csv|txt|nii|tif|nc", re.IGNORECASE)
"""Extensions that belong to the one behind them: ``.tar.gz``."""
USUAL = {"image/tiff": ".tif", "image/jpeg": ".jpg", "application/geo+json": ".geojson", "application/x-hdf5": ".h5"}
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
"""Names that are saved as they are. Almost all are so, and pages ask for thousands."""


def content_disposition(filename: str) -> str:
    """Give a Content-Disposition value that saves under ``filename``, in ASCII for old clients and in full for others.

    Always ``attachment``: what a catalogue's author wrote (HTML, SVG) must not run in a page of this server, while
    images in pages, scripts and GIS programs take no notice of it.
    """
    if PLAIN.fullmatch(filename):
        return f"attachment; filename=\"{filename}\"; filename*=UTF-8''{filename}"
    name = _clean(filename) or NAMELESS
    return f"attachment; filename=\"{_ascii(name) or NAMELESS}\"; filename*=UTF-8''{quote(name, safe='')}"


def filename_of(asset: Asset) -> str:
    """Give the name to save an asset under: of its ``file:local_path``, else of its href, else its key.

    A file in a directory keeps its own name.
    """
    if asset.path:
        return _clean(asset.path.rpartition("/")[2]) or NAMELESS
    return _file_name(asset, _stored_path(asset))


def _stored_path(asset: Asset) -> str:
    local = asset.properties.get("file:local_path")
    return local if isinstance(local, str) else _path(asset.href)


def _file_name(asset: Asset, path: str) -> str:
    return _clean(path.rpartition("/")[2]) or _clean(asset.key) or NAMELESS


def download_name(asset: Asset) -> str:
    """Return the name ``{item}_{asset}.{extension}`` to save a single download under, in characters that are safe.

    Of an asset of a collection, the collection's id stands for the item's. An id that the key begins with is not
    repeated, nor a key that the id ends with. A file in a directory keeps its own name.
    """
    if asset.path:
        return filename_of(asset)
    extension = _extension(asset)
    item, key = asset.item or asset.collection, asset.key
    if extension and key.lower().endswith(extension.lower()):
        key = key[: -len(extension)]
    return _clean(f"{_stem(_safe(item), _safe(key)) or NAMELESS}{extension}") or NAMELESS


def _safe(word: str) -> str:
    return word if word.isalnum() else UNSAFE.sub("_", word).strip("_.-")


def _stem(item: str, key: str) -> str:
    """Join an item's id and an asset's key, unless one holds the other as a whole word at that end."""
    low_item, low_key = item.casefold(), key.casefold()
    if not item or (low_key.startswith(low_item) and not low_key[len(low_item) :][:1].isalnum()):
        return key
    if not key or (low_item.endswith(low_key) and not low_item[: len(low_item) - len(low_key)][-1:].isalnum()):
        return item
    return f"{item}_{key}"


def _extension(asset: Asset) -> str:
    """Return the extension of the stored file, with its dot, or else the usual one of the media type."""
    path = _stored_path(asset)
    stem, dot, last = _file_name(asset, path).rpartition(".") if path else ("", "", "")
    if dot and EXTENSION.fullmatch(last):
        _, dot, before = stem.rpartition(".")
        return f".{before}.{last}" if dot and COMPRESSED.fullmatch(before) else f".{last}"
    media_type = (asset.media_type or "").partition(";")[0].strip().lower()
    return USUAL.get(media_type) or guess_extension(media_type) or ""


def local_path(asset: Asset) -> str:
    """Give the relative path to save an asset under: collection, item, and ``file:local_path`` or the file's name.

    A local path that begins with item, or collection and item, is not put below them once more.
    """
    local = asset.properties.get("file:local_path")
    steps = local.split("/") if isinstance(local, str) and not asset.path else []
    below = [step for step in map(_clean, steps) if step] or [filename_of(asset)]
    above = [_clean(name) or NAMELESS for name in (asset.collection, asset.item) if name]
    again = next((some for some in (above, above[-1:]) if below[: len(some)] == some and len(below) > len(some)), [])
    return "/".join(above + below[len(again) :])


def _path(href: str) -> str:
    """Give an href's path. Only addresses of the web are percent-encoded; a key in a store is taken literally."""
    if href.startswith("s3://"):  # the usual ones without taking them apart: pages ask for thousands
        return href.removeprefix("s3://").partition("/")[2]
    try:
        parts = urlsplit(href)
    except ValueError:
        return ""
    if parts.scheme in ENCODED:
        return unquote(parts.path)
    return href.partition("://")[2].partition("/")[2] if "://" in href else SCHEME.sub("", href)


def _clean(name: str) -> str:
    """Leave out what is invisible or steers a terminal, replace what separates paths or ends a quotation."""
    if PLAIN.fullmatch(name):
        return name
    if not name.isprintable():
        name = "".join(letter for letter in name if unicodedata.category(letter)[0] != "C")
    return _fit(name.translate(BREAKS))


def _ascii(name: str) -> str:
    if not name.isascii():
        # This brings new quotes and slashes to light, so what breaks out is replaced after it.
        letters = (letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
        name = "".join(letter if " " <= letter <= "~" else "_" for letter in letters)
    return _fit(name.translate(BREAKS | MISLEADING))


def _fit(name: str) -> str:
    """Cut a name to what a file system takes, keeping its ending; a name of dots alone is none."""
    short = name.strip().encode()[-LONGEST:].decode(errors="ignore").strip()
    return short if short.strip(".") else ""


NAMES: dict[str, Callable[[Asset], str]] = {"item": download_name, "stored": filename_of}
"""How single downloads can be named."""
