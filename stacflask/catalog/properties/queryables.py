"""Names that a filter can use, and observations of their values, as far as a restriction permits.

Observations of items come from the statistics. For users who cannot see all items, they come from a sample of the
visible items. Names that no item has come from the collection's document (summaries, item_assets).
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from stacflask.catalog.database.tables import collections, items
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.codec import Codec
from stacflask.catalog.properties import observations, statistics
from stacflask.catalog.properties.observations import Observation, Observations
from stacflask.catalog.search.restrictions import visible, visible_collections
from stacflask.catalog.search.visible_extents import SUMMARIES, VisibleExtents
from stacflask.model.decision import Restriction
from stacflask.model.json_types import Document
from stacflask.stac import known_fields

MAX_COLLECTIONS = 2000
"""Most collections whose documents are read for a list of all names."""
_NO_FIELDS = frozenset({"links", "assets", "item_assets", "stac_extensions", "type", "stac_version"})


def of_items(
    connection: Connection,
    names: Sequence[str] | None,
    restriction: Restriction,
    sample: int,
    codec: Codec,
    *,
    summaries: bool,
) -> Observations:
    """Return observations of the visible items of these collections, or with None of all collections.

    ``sample`` is the number of items to read if some items are hidden. ``summaries`` permits the use of the
    collections' summaries for names that no item has.
    """
    conditions = _collection_conditions(names, restriction)
    bodies = connection.execute(_first_collections(collections.c.body, conditions)).scalars()
    declarations = [declared(_decompress(codec, body), summaries=summaries) for body in bodies]
    found = _stored_or_sampled(connection, conditions, restriction, sample)
    return found | {
        name: observation for name, observation in observations.merge(declarations).items() if name not in found
    }


def _stored_or_sampled(
    connection: Connection, conditions: list[sa.ColumnElement[bool]], restriction: Restriction, sample: int
) -> Observations:
    names = sa.select(collections.c.id).where(*conditions)
    if restriction.items is None:
        return observations.merge(statistics.stored(connection, names).values())
    properties = sa.select(sa.cast(items.c.properties, sa.Text)).where(
        items.c.collection.in_(names), *visible(restriction)
    )
    newest = properties.order_by(items.c.datetime.desc(), items.c.collection.desc(), items.c.id.desc()).limit(sample)
    return statistics.observe_properties(connection.execute(newest).scalars().all()) if sample else {}


def of_collections(
    connection: Connection, restriction: Restriction, extents: VisibleExtents | None = None
) -> Observations:
    """Return observations of the documents of visible collections. ``extents`` replace the stored extents."""
    conditions = _first_collections(collections.c.document, list(visible_collections(restriction)))
    rows = connection.execute(conditions if extents is None else extents.apply_to(conditions)).scalars()
    members = [{name: value for name, value in document.items() if name not in _NO_FIELDS} for document in rows]
    return observations.observe(members)


def _collection_conditions(names: Sequence[str] | None, restriction: Restriction) -> list[sa.ColumnElement[bool]]:
    named = [] if names is None else [collections.c.id.in_(names)]
    return [*named, *visible_collections(restriction)]


def _first_collections(column: sa.Column[Any], conditions: list[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    return sa.select(column).where(*conditions).order_by(collections.c.id).limit(MAX_COLLECTIONS)


def _decompress(codec: Codec, frame: bytes) -> Document:
    return documents.original(codec.decompress(frame))


# --- Declarations of a collection -------------------------------------------------------------------------------------


def declared(collection: Document, *, summaries: bool = True) -> Observations:
    """Return observations that a collection's document declares, with or without its summaries."""
    collection_summaries = (collection.get(SUMMARIES) or {}) if summaries else {}
    summarized = {name: _observe_summary(name, summary) for name, summary in collection_summaries.items()}
    in_assets = [
        _item_members(asset) for asset in (collection.get("item_assets") or {}).values() if isinstance(asset, dict)
    ]
    # Descriptions of assets show which types to expect, but no ranges.
    expected = {
        name: Observation(observation.kinds, words=None)
        for name, observation in observations.observe(in_assets).items()
    }
    return expected | {name: observation for name, observation in summarized.items() if observation.kinds}


def _observe_summary(name: str, summary: Any) -> Observation:
    """Return the observation of a summary: values, a range, or a JSON Schema."""
    match summary:
        case {"minimum": low, "maximum": high}:
            return observations.observe_values([low, high])
        case {"type": str(kind)}:
            return Observation(frozenset({kind}), words=None)
        case list(values) if known_fields.fields().get(name, {}).get("type") == "array":
            return Observation(frozenset({"array"}), members=observations.observe_values(values))
        case list(values):
            return observations.observe_values(values)
    return Observation()


def _item_members(asset: Document) -> Document:
    """Return the members of an asset that an item's properties can also have."""
    return {
        name: value
        for name, value in asset.items()
        if (":" in name or name == "gsd") and isinstance(value, str | int | float)
    }
