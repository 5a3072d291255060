"""Whether the names in a query are known, where the deployment wants them to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask import current

if TYPE_CHECKING:
    from stacflask.model.query import CollectionQuery, ItemQuery


def check(query: ItemQuery) -> None:
    """Raise BadQuery for a name that is not among the queryables, if that is an error here."""
    settings = current.settings()
    if settings.strict_names:
        current.catalog().check_names(query, current.restriction(), settings.queryables_sample)


def check_of_collections(query: CollectionQuery) -> None:
    """Do the same for a query of collections."""
    if current.settings().strict_names:
        current.catalog().check_collection_names(query, current.restriction())
