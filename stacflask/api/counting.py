"""How many items a search finds on all its pages, where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacflask import current
from stacflask.values import Count

if TYPE_CHECKING:
    from stacflask.api.schemas import ItemSearch
    from stacflask.values import Page


def counted(query: ItemSearch, page: Page) -> Count | None:
    """Count what the query finds; None: nobody asks. What is all on one page is not counted again."""
    settings = current.settings()
    if not (settings.count if query.count is None else query.count):
        return None
    if query.token is None and page.next is None:
        return Count(matched=len(page.records))
    return current.catalog().count(query, current.restriction(), settings.count_limit)
