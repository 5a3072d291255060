"""Lists of all items or collections, by who may see some collections: what a statement says of their names.

A few names stand in it as they are. Thousands of them would take the database longer to read than the search takes, so
it gets numbers instead: the hashes of the names, in order and packed by itself, in which it looks by halves. Names that
may not be seen could have the hash of one that may; so whoever reads looks at the names of what was found, and asks
again with all of the names in the one case of 10^15.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.types import UserDefinedType

from stacflask.catalog.database import Numbers
from stacflask.catalog.narrowing import ALL, Ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stacflask.catalog.database import Database

FEW = 100
"""Names that stand in a statement as they are: the database knows how many items to expect of them."""

REMEMBERED = 128
"""Sets of names whose hashes are kept."""

SEED = secrets.randbits(62)
"""Each process hashes in its own way: nobody can choose a name by its hash."""


class _Numbers(UserDefinedType[Any]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Say what the database calls it."""
        return "bigint[]"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a statement says of names; ``numbers`` are their hashes, if there are many."""

    ids: Ids = ALL
    numbers: Numbers | None = None

    def conditions(self, name: sa.Column[str]) -> Iterator[sa.ColumnElement[bool]]:
        """Give the conditions on the column of the name."""
        if self.ids is ALL:
            return
        if self.numbers is None:
            named = sa.bindparam(self._name, sorted(self.ids.names), ARRAY(sa.Text()))
            yield name != sa.all_(named) if self.ids.but else name == sa.any_(named)
            return
        numbers, number = sa.bindparam(self._name, self.numbers, _Numbers()), _hash(name)
        held = sa.func.width_bucket(number, numbers) > sa.func.width_bucket(number - 1, numbers)
        yield sa.not_(held) if self.ids.but else held

    def given(self) -> dict[str, Any]:
        """Give what those conditions compare with, by name."""
        if self.ids is ALL:
            return {}
        return {self._name: sorted(self.ids.names) if self.numbers is None else self.numbers}

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all that was found may be seen."""
        return self.numbers is None or all(name in self.ids for name in names)

    @property
    def _name(self) -> str:
        few = self.numbers is None
        return ("unseen" if few else "unseen_numbers") if self.ids.but else ("seen" if few else "seen_numbers")


def _hash(name: Any) -> sa.ColumnElement[int]:
    # One bit less than there is, so that there is a number below each.
    return sa.func.hashtextextended(name, sa.literal_column(str(SEED)), type_=sa.BigInteger()).op(">>")(
        sa.literal_column("1")
    )


class Seeing:
    """Knows how to say it, for each set of names."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers = lru_cache(REMEMBERED)(self._hashed)

    def of(self, ids: Ids) -> Seen:
        """Give what a statement says for these."""
        return Seen(ids, self._numbers(ids) if len(ids.names) > FEW else None)

    def _hashed(self, ids: Ids) -> Numbers:
        name = sa.func.unnest(sa.bindparam("names", list(ids.names), ARRAY(sa.Text()))).column_valued("name")
        number = sa.select(_hash(sa.collate(name, "C")).label("number")).subquery().c.number
        # In the form in which it takes them back.
        packed = sa.select(sa.func.array_send(sa.func.array_agg(aggregate_order_by(number, number))))
        found: bytes = self._database.read(lambda connection: connection.execute(packed).scalar_one())
        return Numbers(found)


EVERYTHING = Seen()
