"""Link objects of STAC documents (STAC API Core, Links)."""

from typing import Any

from stacflask import current
from stacflask.api.http import public_url
from stacflask.api.http.media_types import JSON, SCHEMA

OGC_REL = "http://www.opengis.net/def/rel/ogc/1.0"

Link = dict[str, Any]


def link(rel: str, href: str, media_type: str = JSON, **more: Any) -> Link:
    """Return a link object."""
    return {"rel": rel, "href": href, "type": media_type, **more}


def root_link() -> Link:
    """Return the link to the landing page."""
    return link("root", public_url.base_url(), title=current.settings().title)


def description_links(url: str) -> list[Link]:
    """Return links to queryables, sortables and aggregations, of a collection or of all collections."""
    return [*names_links(f"{url}/"), *aggregation_links(f"{url}/")]


def names_links(start: str) -> list[Link]:
    """Return links to queryables and sortables; ``start`` is the beginning of their URLs."""
    return [
        link(f"{OGC_REL}/queryables", f"{start}queryables", SCHEMA, title="Queryables"),
        link(f"{OGC_REL}/sortables", f"{start}sortables", SCHEMA, title="Sortables"),
    ]


def aggregation_links(start: str) -> list[Link]:
    """Return links to the list of aggregations and to the aggregation endpoints."""
    return [
        link("aggregations", f"{start}aggregations", title="Available aggregations"),
        link("aggregate", f"{start}aggregate", method="GET", title="Aggregate items"),
        link("aggregate", f"{start}aggregate", method="POST", title="Aggregate items"),
    ]
