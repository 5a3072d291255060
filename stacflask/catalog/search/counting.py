"""The number of items that a search finds: counted up to a bound, beyond it estimated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ClauseElement, Executable

from stacflask.catalog.database.engine import texts
from stacflask.catalog.database.tables import items
from stacflask.catalog.search import item_search
from stacflask.catalog.search.long_name_lists import EVERYTHING_VISIBLE, VisibilityFilter
from stacflask.catalog.search.ordering import row_limit
from stacflask.catalog.search.plan import Step
from stacflask.model.decision import UNRESTRICTED, Restriction
from stacflask.model.query import ItemQuery


def count_statement(query: ItemQuery, restriction: Restriction, visibility: VisibilityFilter) -> sa.Select[Any]:
    """Return the statement that counts the items of all pages of a search, up to the value ``most``."""
    some = _matching(query, restriction).where(*visibility.conditions(items.c.collection))
    return sa.select(sa.func.count()).select_from(some.limit(sa.bindparam("most", 0, sa.Integer())).subquery())


def with_count(step: Step, query: ItemQuery, restriction: Restriction, bound: int) -> Step:
    """Return a step whose first statement has a column ``matched``: the number of items of all pages up to ``bound``.

    The number is in the row after the page, if there is one. PostgreSQL counts when it comes to that row, so a page
    that is not full costs no count.
    """

    def build() -> Iterator[sa.Select[Any]]:
        first, *others = step.build()
        rows = first.subquery("page")
        counted = count_statement(query, restriction, EVERYTHING_VISIBLE).scalar_subquery()
        beyond = sa.func.row_number().over() == row_limit(query.limit)
        yield sa.select(*rows.c, sa.case((beyond, counted)).label("matched"))
        yield from others

    return replace(step, shape=("counted", *step.shape), values={**step.values, "most": bound + 1}, build=build)


def parameters(query: ItemQuery, visibility: VisibilityFilter, most: int) -> dict[str, Any]:
    """Return the parameters of that statement by name."""
    values = {**item_search.parameters(query), **visibility.parameters(), "most": most}
    return {name: texts(tuple(value)) if isinstance(value, list) else value for name, value in values.items()}


def estimate(connection: Connection, query: ItemQuery) -> int:
    """Return the number of items that the planner expects of a search by a client that can see all items.

    Other clients must not see it, because it comes from statistics on all items.
    """
    [[plan]] = connection.execute(_Explain(_matching(query, UNRESTRICTED))).all()
    return int(plan[0]["Plan"]["Plan Rows"])


def _matching(query: ItemQuery, restriction: Restriction) -> sa.Select[Any]:
    return (
        sa.select(sa.literal_column("1")).select_from(items).where(*item_search.search_conditions(query, restriction))
    )


class _Explain(Executable, ClauseElement):
    """EXPLAIN of a statement."""

    inherit_cache = False

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _explained(element: _Explain, compiler: Any, **kwargs: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **kwargs)}"
