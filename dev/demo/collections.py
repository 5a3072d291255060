"""The four collections. Their extents and summaries are computed from their items."""

from typing import Any

import numpy as np

from dev.demo import fenlark, halyard, names, plumbline, quickwater
from dev.demo.bucket import PUBLIC_HOST, Bucket
from dev.demo.rasters import PNG, png
from dev.demo.stac import STAC_VERSION, Document, extent, value_range, value_set

_AGENCY = {
    "name": "Stillwater Demonstration Agency (invented)",
    "description": "Invents satellites and their images.",
    "roles": ["producer", "licensor"],
    "url": "https://agency.example.org",
}
_FACILITY = {
    "name": "Stillwater Processing Facility (invented)",
    "roles": ["processor", "host"],
    "url": "https://processing.example.org",
}
_COMPANY = {
    "name": "Halyard Radar (invented)",
    "description": "Sells invented radar images of ports.",
    "roles": ["producer", "licensor", "processor"],
    "url": "https://halyard.example.com",
}


def open_collection(items: list[Document], bucket: Bucket) -> Document:
    """Return the collection of public optical scenes."""
    return {
        **_head(names.OPEN),
        "title": "Fenlark-2 surface reflectance (synthetic)",
        "description": (
            "Bottom-of-atmosphere reflectance in four bands from the invented optical mission Fenlark-2. "
            "Every pixel is invented; places, dates, sun angles and cloud cover are consistent."
        ),
        "keywords": ["synthetic", "optical", "multispectral", "surface reflectance"],
        "license": "CC-BY-4.0",
        "providers": [_AGENCY, _FACILITY],
        "extent": extent(items),
        "summaries": {
            **_sets(items, "constellation", "platform", "instruments", "gsd", "sat:orbit_state", "processing:level"),
            **_ranges(items, "eo:cloud_cover", "view:off_nadir", "view:sun_elevation"),
            "bands": fenlark.BANDS,
        },
        "item_assets": fenlark.ASSETS | {"composite": fenlark.COMPOSITE},
        "assets": _thumbnail(bucket, names.OPEN, [fenlark.scene(slug, 192) for slug in _OPEN_SCENES]),
        "links": [_licence("https://creativecommons.org/licenses/by/4.0/", "Creative Commons Attribution 4.0")],
    }


def members_collection(items: list[Document], bucket: Bucket) -> Document:
    """Return the collection of radar scenes that members can download after they accept the licence."""
    return {
        **_head(names.MEMBERS),
        "title": "Halyard-X spotlight (synthetic)",
        "description": (
            "High-resolution X-band radar amplitudes of harbours and straits from the invented mission Halyard-X. "
            f"Everyone can see them; members can download them after they accept the {names.LICENCE.title}."
        ),
        "keywords": ["synthetic", "radar", "SAR", "X-band", "harbours", "commercial"],
        "license": "other",
        "providers": [_COMPANY, _FACILITY | {"roles": ["host"]}],
        "extent": extent(items),
        "summaries": {
            **_sets(items, "constellation", "platform", "instruments", "gsd", "sat:orbit_state", "processing:level"),
            **_sets(items, "sar:instrument_mode", "sar:frequency_band", "sar:product_type", "sar:polarizations"),
            **_ranges(items, "view:incidence_angle"),
        },
        "item_assets": halyard.ASSETS,
        "assets": _thumbnail(bucket, names.MEMBERS, [halyard.scene(slug, 192) for slug in _MEMBERS_SCENES]),
        "links": [_licence(f"{PUBLIC_HOST}/licences/{names.LICENCE.id}-{names.LICENCE.version}", names.LICENCE.title)],
    }


def hidden_collection(items: list[Document], bucket: Bucket) -> Document:
    """Return the collection of disaster maps for the response group."""
    return {
        **_head(names.HIDDEN),
        "title": "Quickwater disaster response (synthetic, restricted)",
        "description": (
            "Rapid maps of invented floods and fires, for exercises. "
            "Restricted to the response group: other users can neither see nor download them."
        ),
        "keywords": ["synthetic", "restricted", "disaster response", "flood", "wildfire"],
        "license": "other",
        "providers": [_AGENCY | {"roles": ["producer", "licensor", "processor", "host"]}],
        "extent": extent(items),
        "summaries": {
            **_sets(items, "platform", "instruments", "gsd", "event_id", "event_kind", "processing:level"),
            **_ranges(items, "eo:cloud_cover", "view:sun_elevation"),
        },
        "item_assets": quickwater.ASSETS,
        "assets": _thumbnail(bucket, names.HIDDEN, [quickwater.scene(*scene, 192) for scene in _HIDDEN_SCENES]),
        "links": [_licence(f"{PUBLIC_HOST}/licences/quickwater-response", "Quickwater terms of the response group")],
    }


def edges_collection(items: list[Document], bucket: Bucket) -> Document:
    """Return the collection of public elevation tiles."""
    return {
        **_head(names.EDGES),
        "title": "Plumbline elevation tiles (synthetic)",
        "description": (
            "Invented heights of real places, with the difficult cases of a catalogue: tiles across the antimeridian, "
            "with heights in the bbox, without a geometry or a datetime, and with accents, percent signs, spaces, "
            "colons, dots and slashes in ids and asset keys."
        ),
        "keywords": ["synthetic", "elevation", "DEM", "terrain"],
        "license": "CC0-1.0",
        "providers": [_AGENCY, _FACILITY],
        "extent": extent(items),
        "summaries": _sets(items, "instruments", "gsd", "processing:level", "proj:code"),
        "item_assets": plumbline.ASSETS,
        "assets": _thumbnail(bucket, names.EDGES, [plumbline.scene(item, 192) for item in _EDGES_SCENES]),
        "links": [_licence("https://creativecommons.org/publicdomain/zero/1.0/", "Creative Commons Zero 1.0")],
    }


_OPEN_SCENES = ("danube-delta", "lofoten", "valais", "atacama")
_MEMBERS_SCENES = ("rotterdam", "hormuz", "magellan", "sydney")
_HIDDEN_SCENES = (("mara-flood", -1), ("mara-flood", 2), ("ribatejo-fire", -1), ("ribatejo-fire", 5))
_EDGES_SCENES = ("plumbline-taveuni", "plumbline-puncak-jaya", "plumbline-北岳", "plumbline-Þingvellir")


def _head(collection: str) -> Document:
    # Without stac_extensions, because a validating client would fetch each schema and the demo works offline.
    return {"type": "Collection", "stac_version": STAC_VERSION, "id": collection}


def _sets(items: list[Document], *fields: str) -> Document:
    return {field: value_set(items, field) for field in fields}


def _ranges(items: list[Document], *fields: str) -> Document:
    return {field: value_range(items, field) for field in fields}


def _licence(href: str, title: str) -> Document:
    return {"rel": "license", "href": href, "type": "text/html", "title": title}


def _thumbnail(bucket: Bucket, collection: str, pictures: list[Any]) -> dict[str, Document]:
    """Return a thumbnail asset of four pictures."""
    upper, lower = np.concatenate(pictures[:2], axis=2), np.concatenate(pictures[2:], axis=2)
    quarters = np.concatenate([upper, lower], axis=1)
    stored = bucket.put(collection, "thumbnail.png", png(quarters, 384), PNG)
    return {"thumbnail": {"title": "Four examples", "roles": ["thumbnail"], **stored}}
