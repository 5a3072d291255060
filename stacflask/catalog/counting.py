"""How many items a search would find: counted up to a bound, and beyond it estimated under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement, Executable

from stacflask.catalog.search import found
from stacflask.catalog.tables import items
from stacflask.values import UNRESTRICTED, Count

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from stacflask.values import ItemQuery, Restriction


def count(connection: Connection, query: ItemQuery, restriction: Restriction, bound: int) -> Count:
    """Count the items of all pages of a search: exactly, if they are no more than ``bound``.

    The planner's estimate is told only to who may see everything: it is made of statistics on all there is.
    """
    matching = sa.select(sa.literal(1)).select_from(items).where(*found(query, restriction))
    counted = sa.select(sa.func.count()).select_from(matching.limit(bound + 1).subquery())
    number: int = connection.execute(counted).scalar_one()
    if number <= bound:
        return Count(matched=number)
    if restriction != UNRESTRICTED:
        return Count()
    [[plan]] = connection.execute(_Explain(matching)).all()
    return Count(estimate=max(number, int(plan[0]["Plan"]["Plan Rows"])))


class _Explain(Executable, ClauseElement):
    """What the planner thinks of a statement."""

    inherit_cache = False

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _explained(element: _Explain, compiler: Any, **kwargs: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **kwargs)}"
