"""Link objects of STAC documents (STAC API Core, Links)."""

from __future__ import annotations

from typing import Any

from stacflask import current
from stacflask.api.http import public_url
from stacflask.api.http.media_types import JSON, SCHEMA

OGC_REL = "http://www.opengis.net/def/rel/ogc/1.0"

Link = dict[str, Any]


def link(rel: str, href: str, media_type: str = JSON, **more: Any) -> Link:
    """Make a link object."""
    return {"rel": rel, "href": href, "type": media_type, **more}


def root_link() -> Link:
    """Make the link to the landing page."""
    return link("root", public_url.base_url(), title=current.settings().title)


def describing(url: str) -> list[Link]:
    """Link to what describes the items below an address: those of a collection, or of all."""
    return [*names_links(f"{url}/"), *aggregation_links(f"{url}/")]


def names_links(start: str) -> list[Link]:
    """Link to the names by which things can be filtered and sorted; ``start`` is how their addresses begin."""
    return [
        link(f"{OGC_REL}/queryables", f"{start}queryables", SCHEMA, title="Names to filter by"),
        link(f"{OGC_REL}/sortables", f"{start}sortables", SCHEMA, title="Names to sort by"),
    ]


def aggregation_links(start: str) -> list[Link]:
    """Link to the aggregations there are, and to where they are made."""
    return [
        link("aggregations", f"{start}aggregations", title="Aggregations there are"),
        link("aggregate", f"{start}aggregate", method="GET", title="Aggregate items"),
        link("aggregate", f"{start}aggregate", method="POST", title="Aggregate items"),
    ]
