"""How many items a search finds on all its pages, if that is asked for or cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask import current
from stacflask.errors import BadQuery, Unavailable
from stacflask.model.page import Count

if TYPE_CHECKING:
    from stacflask.api.parameters.search_parameters import ItemSearch
    from stacflask.model.page import Page


def bound_of(query: ItemSearch) -> int | None:
    """Return up to how many items a search counts what it finds; None: it does not."""
    settings = current.settings()
    asked = settings.count if query.count is None else query.count
    return None if asked is False else settings.count_limit


def counted(query: ItemSearch, page: Page) -> Count | None:
    """Count what the query finds; None: it is not asked for, and would not be cheap."""
    bound = bound_of(query)
    if bound is None:
        return None
    if query.token is None and page.next is None:
        return Count(matched=len(page.records))
    if page.matched is not None and page.matched <= bound:
        return Count(matched=page.matched)
    return _counted_apart(query, bound)


def _counted_apart(query: ItemSearch, bound: int) -> Count | None:
    """Count by a statement of its own."""
    catalog, restriction = current.catalog(), current.restriction()
    if query.count or (query.count is None and current.settings().count is True):
        return catalog.count(query, restriction, bound)
    # A client that asks for one item asks for the number: pystac-client's matched() does.
    if query.limit > 1 and not catalog.holds_at_most(bound):
        return None
    try:
        return catalog.count(query, restriction, bound)
    except (Unavailable, BadQuery):
        return None
