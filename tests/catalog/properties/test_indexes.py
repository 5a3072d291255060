"""Indexes on properties: made by command while all else goes on, and used at once; what is found stays the same."""

import os
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from stacflask import cli
from stacflask.catalog.database.engine import Database
from stacflask.catalog.properties import indexes
from stacflask.catalog.reader import Catalog
from stacflask.catalog.search.item_search import ordered_types, page_statements
from stacflask.catalog.search.page_tokens import BINDING_LENGTH
from stacflask.errors import BadDocument
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.query import ItemQuery, SortKey
from stacflask.testing import an_item
from tests.catalog.plans import plan_by
from tests.catalog.search.test_ordering import SORTS, TIMES, go_and_return, in_order, items

Publish = Callable[..., None]
Index = Callable[..., list[str]]
FALLING = (SortKey("x", True),)


@pytest.fixture
def index(database: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Index]:
    """Run ``stacflask index`` with these words and give the lines it says; whatever is made goes at the end."""

    def run(*words: str, code: int = 0, **environ: str) -> list[str]:
        assert cli.run(["index", *words], {**os.environ, "DATABASE_URL": database_url, **environ}) == code
        said = capsys.readouterr()
        return (said.out + said.err).splitlines()

    yield run
    for made in database.read(indexes.listed):
        indexes.drop(database, made.name)


def plan(database: Database, index: str, query: ItemQuery, part: int = 0) -> str:
    """Say how PostgreSQL answers a query by this index."""
    types = ordered_types(query, indexes.IndexCache(database).indexed_types)
    return plan_by(database, index, list(page_statements(query, UNRESTRICTED, None, types))[part])


@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort and sort[0].name in ("x", "never")], ids=str)
def test_lists_are_the_same(database: Database, publish: Publish, index: Index, sort: tuple[SortKey, ...]) -> None:
    """With indexes on any of its types, a list sorted by a property holds the same, forward and back."""
    found = items()
    publish(*found)
    for value_types in (("--as", "number"), ("--as", "string"), ()):
        index("add", "x", *value_types)
        go_and_return(Catalog(database), in_order(found, sort), sort, (5,))


def test_sorts_and_filters_use_it(database: Database, publish: Publish, index: Index) -> None:
    """A sorted list, its later pages, and a filter with the newest first are all read from the index, in its order."""
    publish(*items())
    index("add", "x")
    first = Catalog(database).search(ItemQuery(2, sort=FALLING), UNRESTRICTED)
    equal = {"op": "=", "args": [{"property": "x"}, "a"]}
    less = {"op": "<", "args": [{"property": "x"}, 1]}
    for query, value_type in (
        (ItemQuery(2, sort=FALLING), "number"),
        (ItemQuery(2, sort=FALLING, token=(first.next or "")[BINDING_LENGTH:]), "number"),
        (ItemQuery(2, sort=FALLING, filter=less), "number"),
        (ItemQuery(2, filter=equal), "string"),
    ):
        index_of = indexes.PropertyIndex("x", value_type).label
        told = plan(database, index_of, query)
        assert index_of in told, told
        assert "Sort" not in told


def test_where_only_numbers_can_be(database: Database, publish: Publish, index: Index) -> None:
    """A filter that holds for numbers alone leaves one statement, whatever the property holds besides."""
    publish(*items())
    index("add", "x")
    less = {"op": "and", "args": [{"op": "<", "args": [{"property": "properties.x"}, 1]}, True]}
    types = ordered_types(ItemQuery(1, sort=FALLING), indexes.IndexCache(database).indexed_types)
    assert len(list(page_statements(ItemQuery(1, sort=FALLING, filter=less), UNRESTRICTED, None, types))) == 1
    assert len(list(page_statements(ItemQuery(1, sort=FALLING), UNRESTRICTED, None, types))) == 4


def test_types_are_those_that_the_items_hold(publish: Publish, index: Index) -> None:
    """Without a word about types, an index is made for each that is there, and an empty one for those before them."""
    publish(
        an_item("a", properties={"datetime": TIMES[0], "n": 1, "s": "x"}),
        an_item("b", properties={"datetime": TIMES[0], "s": "y"}),
    )
    assert [line.partition(" by ")[2].split(",")[0] for line in index("add", "n")] == ["number"]
    assert len(index("add", "s")) == 2
    assert index("add", "n") == ["n: indexed already"]
    assert [line.split(":")[0] for line in index("list")] == ["n by number", "s by number", "s by string"]
    assert index("drop", "s") == ["s: dropped the index by number", "s: dropped the index by string"]
    assert index("drop", "s") == ["s: there was no index"]


def test_times_that_strings_spell(database: Database, publish: Publish, index: Index) -> None:
    """A property that holds times is indexed by them too, and filters with times find what they did before."""
    spelt = {"a": "2024-05-01T12:00:00Z", "b": "2024-05-01T11:30:00-02:00", "c": "2024-05-01", "d": "May", "e": 5}
    publish(*(an_item(name, properties={"datetime": TIMES[0], "updated": value}) for name, value in spelt.items()))
    since = {"op": ">=", "args": [{"property": "updated"}, {"timestamp": "2024-05-01T12:00:00Z"}]}
    query = ItemQuery(9, filter=since, sort=(SortKey("id"),))
    without = [record.id for record in Catalog(database).search(query, UNRESTRICTED).records]
    assert [line.partition(" by ")[2].split(",")[0] for line in index("add", "updated")] == ["number", "string", "time"]
    assert [record.id for record in Catalog(database).search(query, UNRESTRICTED).records] == without == ["a", "b"]


def test_those_of_the_settings(publish: Publish, index: Index) -> None:
    """Without names, the properties are indexed that STACFLASK_INDEXES names."""
    publish(an_item("a", properties={"datetime": TIMES[0], "n": 1, "b": True}))
    said = index("add", STACFLASK_INDEXES="n, properties.b")
    assert [line.split(":")[0] for line in said] == ["n", "b", "b", "b"]


def test_what_cannot_be_indexed(index: Index) -> None:
    """A property that no item has, or that cannot be a name, is refused in one line."""
    assert index("add", "nix", code=2) == [
        "error: property: no item has a 'nix' that is a number, a string or a boolean"
    ]
    assert index("add", "a\ud800", code=2)[0].startswith("error: property: ")


def test_an_interrupted_run_is_made_good(database: Database, publish: Publish, index: Index) -> None:
    """What a run left that was cut short is no index for anybody; the next run replaces it."""
    publish(an_item("a", properties={"datetime": TIMES[0], "n": 1}))
    left = indexes.PropertyIndex("n", "number").label
    with database.write() as connection:
        connection.execute(sa.text(f"CREATE INDEX {left} ON items (id)"))
    assert indexes.IndexCache(database).indexed_types("n") == ()
    assert index("add", "n")[0].startswith("n: indexed")
    assert indexes.IndexCache(database).indexed_types("n") == ("number",)


def test_two_at_once(database: Database, index: Index) -> None:
    """While one command makes indexes, another says so and does nothing."""
    with database.write() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(indexes.ADVISORY_LOCK)))
        assert "Another command" in index("add", "n", code=2)[0]


def test_migrations_leave_them_alone(publish: Publish, index: Index, database_url: str) -> None:
    """Alembic does not take an operator's index for one that the code has forgotten."""
    from tests.catalog.database.test_migrations import alembic, done

    publish(an_item("a", properties={"datetime": TIMES[0], "n": 1}))
    index("add", "n")
    assert "No new upgrade operations detected" in done(alembic(database_url, "check"))


def test_what_is_too_long_for_an_index(publish: Publish, index: Index) -> None:
    """A string that an index cannot hold is the document's fault, and nothing of it is kept."""
    publish(an_item("a", properties={"datetime": TIMES[0], "s": "x"}))
    index("add", "s")
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=9000))
    with pytest.raises(BadDocument):
        publish(an_item("b", properties={"datetime": TIMES[0], "s": noise}))


DOTTED: list[dict[str, Any]] = [{"s.v": 1}, {"s": {"v": 2}}, {"s.v": 3, "s": {"v": 9}}, {"s": 4}, {}]


def test_names_with_dots(database: Database, publish: Publish, index: Index) -> None:
    """An index on a name with dots holds what the name means, and serves filters and sorted lists."""
    publish(*(an_item(f"i{n}", properties={"datetime": TIMES[0], **own}) for n, own in enumerate(DOTTED)))
    assert "s.v: indexed 3 items by number" in index("add", "s.v")[0]
    for query in (
        ItemQuery(2, filter={"op": "<", "args": [{"property": "properties.s.v"}, 3]}),
        ItemQuery(2, sort=(SortKey("s.v", True),)),
    ):
        index_of = indexes.PropertyIndex("s.v", "number").label
        assert index_of in plan(database, index_of, query)


def test_an_index_of_an_earlier_release_on_a_name_with_dots(database: Database, publish: Publish, index: Index) -> None:
    """It holds another expression: it is listed as not in use, and made anew."""
    publish(*(an_item(f"i{n}", properties={"datetime": TIMES[0], **own}) for n, own in enumerate(DOTTED)))
    label = indexes.PropertyIndex("s.v", "number").label
    with database.write() as connection:
        connection.execute(sa.text(f"CREATE INDEX {label} ON items ((properties -> 's' ->> 'v'))"))
        comment = """COMMENT ON INDEX {} IS '{{"property"\\: "s.v", "form"\\: "number"}}'"""
        connection.execute(sa.text(comment.format(label)))
    assert index("list") == ["s.v by number: not in use: add it again"]
    assert "s.v: indexed 3 items by number" in index("add", "s.v")[0]
    assert "s.v by number: 3 items" in index("list")[0]
