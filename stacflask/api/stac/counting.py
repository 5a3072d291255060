"""The number of items on all pages of a search, if the client requests it or counting is cheap."""

from stacflask import current
from stacflask.api.parameters.search_parameters import ItemSearch
from stacflask.errors import BadQuery, Unavailable
from stacflask.model.page import Count, Page


def bound_of(query: ItemSearch) -> int | None:
    """Return the maximum number of items that a search counts; None if it does not count."""
    settings = current.settings()
    requested = settings.count if query.count is None else query.count
    return None if requested is False else settings.count_limit


def counted(query: ItemSearch, page: Page) -> Count | None:
    """Return the number of items that a query finds; None if it is not requested and would be expensive."""
    bound = bound_of(query)
    if bound is None:
        return None
    if query.token is None and page.next is None:
        return Count(matched=len(page.records))
    if page.matched is not None and page.matched <= bound:
        return Count(matched=page.matched)
    return _counted_by_statement(query, bound)


def _counted_by_statement(query: ItemSearch, bound: int) -> Count | None:
    """Count with a separate statement."""
    catalog, restriction = current.catalog(), current.restriction()
    if query.count or (query.count is None and current.settings().count is True):
        return catalog.count(query, restriction, bound)
    # A client that requests one item needs the number, like matched() of pystac-client.
    if query.limit > 1 and not catalog.holds_at_most(bound):
        return None
    try:
        return catalog.count(query, restriction, bound)
    except (Unavailable, BadQuery):
        return None
