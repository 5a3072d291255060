"""Rejects names in a query that are not queryables, if a setting says so."""

from stacflask import current
from stacflask.model.query import CollectionQuery, ItemQuery


def check(query: ItemQuery) -> None:
    """Raise BadQuery for a name that is not a queryable, if ``strict_names`` is set."""
    settings = current.settings()
    if settings.strict_names:
        current.catalog().check_names(query, current.restriction(), settings.queryables_sample)


def check_of_collections(query: CollectionQuery) -> None:
    """Raise BadQuery for a name that is not a queryable of collections, if ``strict_names`` is set."""
    if current.settings().strict_names:
        current.catalog().check_collection_names(query, current.restriction())
