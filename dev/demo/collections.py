"""The four collections; extents and summaries are drawn from their items."""

from typing import Any

import numpy as np

from dev.demo import fenlark, halyard, names, plumbline, quickwater
from dev.demo.rasters import PNG, png
from dev.demo.shelf import PUBLIC_HOST, Shelf
from dev.demo.stac import STAC_VERSION, Document, extent, value_range, value_set

_AGENCY = {
    "name": "Stillwater Demonstration Agency (invented)",
    "description": "Makes up satellites, and what they see.",
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
    "description": "Sells radar pictures of ports that it never saw.",
    "roles": ["producer", "licensor", "processor"],
    "url": "https://halyard.example.com",
}


def open_collection(items: list[Document], shelf: Shelf) -> Document:
    """Optical scenes for everyone."""
    return {
        **_head(names.OPEN),
        "title": "Fenlark-2 surface reflectance (synthetic)",
        "description": (
            "Bottom-of-atmosphere reflectance in four bands from the invented optical mission Fenlark-2. "
            "Every pixel is made up; places, dates, sun angles and cloud shares agree with each other."
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
        "assets": _thumbnail(shelf, names.OPEN, [fenlark.scene(slug, 192) for slug in _OPEN_SCENES]),
        "links": [_licence("https://creativecommons.org/licenses/by/4.0/", "Creative Commons Attribution 4.0")],
    }


def members_collection(items: list[Document], shelf: Shelf) -> Document:
    """Radar scenes that members download once they accepted the licence."""
    return {
        **_head(names.MEMBERS),
        "title": "Halyard-X spotlight (synthetic)",
        "description": (
            "High-resolution X-band radar amplitudes of harbours and straits from the invented mission Halyard-X. "
            f"Everyone may look; members may download after accepting the {names.LICENCE.title}."
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
        "assets": _thumbnail(shelf, names.MEMBERS, [halyard.scene(slug, 192) for slug in _MEMBERS_SCENES]),
        "links": [_licence(f"{PUBLIC_HOST}/licences/{names.LICENCE.id}-{names.LICENCE.version}", names.LICENCE.title)],
    }


def hidden_collection(items: list[Document], shelf: Shelf) -> Document:
    """Disaster maps for the response group alone."""
    return {
        **_head(names.HIDDEN),
        "title": "Quickwater disaster response (synthetic, restricted)",
        "description": (
            "Rapid maps of floods and fires that never happened, for exercises. "
            "Restricted to the response group: others neither see nor download them."
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
        "assets": _thumbnail(shelf, names.HIDDEN, [quickwater.scene(*shown, 192) for shown in _HIDDEN_SCENES]),
        "links": [_licence(f"{PUBLIC_HOST}/licences/quickwater-response", "Quickwater terms of the response group")],
    }


def edges_collection(items: list[Document], shelf: Shelf) -> Document:
    """Elevation tiles for everyone."""
    return {
        **_head(names.EDGES),
        "title": "Plumbline elevation tiles (synthetic)",
        "description": (
            "Invented heights of real places. The tiles lie where catalogues stumble: across the antimeridian, "
            "with heights in their boxes, without a place or an instant, under ids and asset keys with accents, "
            "percent signs, spaces, colons, dots and slashes."
        ),
        "keywords": ["synthetic", "elevation", "DEM", "terrain"],
        "license": "CC0-1.0",
        "providers": [_AGENCY, _FACILITY],
        "extent": extent(items),
        "summaries": _sets(items, "instruments", "gsd", "processing:level", "proj:code"),
        "item_assets": plumbline.ASSETS,
        "assets": _thumbnail(shelf, names.EDGES, [plumbline.scene(item, 192) for item in _EDGES_SCENES]),
        "links": [_licence("https://creativecommons.org/publicdomain/zero/1.0/", "Creative Commons Zero 1.0")],
    }


_OPEN_SCENES = ("danube-delta", "lofoten", "valais", "atacama")
_MEMBERS_SCENES = ("rotterdam", "hormuz", "magellan", "sydney")
_HIDDEN_SCENES = (("mara-flood", -1), ("mara-flood", 2), ("ribatejo-fire", -1), ("ribatejo-fire", 5))
_EDGES_SCENES = ("plumbline-taveuni", "plumbline-puncak-jaya", "plumbline-北岳", "plumbline-Þingvellir")


def _head(collection: str) -> Document:
    # No stac_extensions: a client that validates would fetch each schema, and the demo is for places without internet.
    return {"type": "Collection", "stac_version": STAC_VERSION, "id": collection}


def _sets(items: list[Document], *fields: str) -> Document:
    return {field: value_set(items, field) for field in fields}


def _ranges(items: list[Document], *fields: str) -> Document:
    return {field: value_range(items, field) for field in fields}


def _licence(href: str, title: str) -> Document:
    return {"rel": "license", "href": href, "type": "text/html", "title": title}


def _thumbnail(shelf: Shelf, collection: str, pictures: list[Any]) -> dict[str, Document]:
    """Four pictures as the quarters of one."""
    upper, lower = np.concatenate(pictures[:2], axis=2), np.concatenate(pictures[2:], axis=2)
    quarters = np.concatenate([upper, lower], axis=1)
    stored = shelf.put(collection, "thumbnail.png", png(quarters, 384), PNG)
    return {"thumbnail": {"title": "Four examples", "roles": ["thumbnail"], **stored}}
