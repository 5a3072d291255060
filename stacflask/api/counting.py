"""How many items a search finds on all its pages, if that is asked for or cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask import current
from stacflask.errors import Unavailable
from stacflask.values import Count

if TYPE_CHECKING:
    from stacflask.api.schemas import ItemSearch
    from stacflask.values import Page


def counted(query: ItemSearch, page: Page) -> Count | None:
    """Count what the query finds; None: it is not asked for, and would not be cheap."""
    settings, catalog = current.settings(), current.catalog()
    asked = settings.count if query.count is None else query.count
    if asked is False:
        return None
    if query.token is None and page.next is None:
        return Count(matched=len(page.records))
    if asked is True:
        return catalog.count(query, current.restriction(), settings.count_limit)
    # A client that asks for one item asks for the number: pystac-client's matched() does.
    if query.limit > 1 and not catalog.holds_at_most(settings.count_limit):
        return None
    try:
        return catalog.count(query, current.restriction(), settings.count_limit)
    except Unavailable:
        return None
