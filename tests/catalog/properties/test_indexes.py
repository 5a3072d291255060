"""Indexes on properties: commands create them concurrently, searches use them at once, results do not change."""

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
from stacflask.catalog.search.long_name_lists import EVERYTHING_VISIBLE
from stacflask.catalog.search.page_tokens import BINDING_LENGTH
from stacflask.catalog.search.plan import Planner
from stacflask.errors import BadDocument
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.query import ItemQuery, SortKey
from stacflask.testing import an_item
from tests.catalog.plans import plan_by
from tests.catalog.search.test_ordering import SORTS, TIMES, check_pages_both_ways, expected_order, items

Publish = Callable[..., None]
Index = Callable[..., list[str]]
DESCENDING = (SortKey("x", True),)


@pytest.fixture
def index(database: Database, database_url: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Index]:
    """Run ``stacflask index`` with these arguments and return the lines of its output. Drop all indexes afterwards."""

    def run(*words: str, code: int = 0, **environ: str) -> list[str]:
        assert cli.run(["index", *words], {**os.environ, "DATABASE_URL": database_url, **environ}) == code
        output = capsys.readouterr()
        return (output.out + output.err).splitlines()

    yield run
    for created in database.read(indexes.listed):
        indexes.drop(database, created.name)


def plan(database: Database, index: str, query: ItemQuery, part: int = 0) -> str:
    """Return the plan of a query with this index."""
    return plan_by(database, index, statements(database, query)[part])


def statements(database: Database, query: ItemQuery) -> list[Any]:
    """Return the statements that read a page."""
    planner = Planner(indexes.IndexCache(database).indexed_types, lambda: None)
    return [one for step in planner.plan(query, UNRESTRICTED, EVERYTHING_VISIBLE, []) for one in step.build()]


@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort and sort[0].name in ("x", "never")], ids=str)
def test_indexes_do_not_change_sorted_lists(
    database: Database, publish: Publish, index: Index, sort: tuple[SortKey, ...]
) -> None:
    """Indexes on any of its types do not change a list sorted by a property, forward and backward."""
    found = items()
    publish(*found)
    for value_types in (("--as", "number"), ("--as", "string"), ()):
        index("add", "x", *value_types)
        check_pages_both_ways(Catalog(database), expected_order(found, sort), sort, (5,))


def test_sorted_lists_and_filters_use_the_index(database: Database, publish: Publish, index: Index) -> None:
    """A sorted list, its later pages, and a filter with the newest first are read from the index, in its order."""
    publish(*items())
    index("add", "x")
    first = Catalog(database).search(ItemQuery(2, sort=DESCENDING), UNRESTRICTED)
    equal = {"op": "=", "args": [{"property": "x"}, "a"]}
    less = {"op": "<", "args": [{"property": "x"}, 1]}
    for query, value_type in (
        (ItemQuery(2, sort=DESCENDING), "number"),
        (ItemQuery(2, sort=DESCENDING, token=(first.next or "")[BINDING_LENGTH:]), "number"),
        (ItemQuery(2, sort=DESCENDING, filter=less), "number"),
        (ItemQuery(2, filter=equal), "string"),
    ):
        index_of = indexes.PropertyIndex("x", value_type).label
        plan_text = plan(database, index_of, query)
        assert index_of in plan_text, plan_text
        assert "Sort" not in plan_text


def test_a_filter_on_numbers_needs_one_statement(database: Database, publish: Publish, index: Index) -> None:
    """A filter that holds only for numbers needs one statement, also if the property has other types."""
    publish(*items())
    index("add", "x")
    less = {"op": "and", "args": [{"op": "<", "args": [{"property": "properties.x"}, 1]}, True]}
    assert len(statements(database, ItemQuery(1, sort=DESCENDING, filter=less))) == 1
    assert len(statements(database, ItemQuery(1, sort=DESCENDING))) == 4


def test_default_types_are_those_of_the_items(publish: Publish, index: Index) -> None:
    """Without types, an index is created for each existing type, and an empty one for each type before them."""
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


def test_strings_that_are_times_are_indexed_as_times(database: Database, publish: Publish, index: Index) -> None:
    """A property with times is also indexed as times, and filters with times find the same items."""
    values = {"a": "2024-05-01T12:00:00Z", "b": "2024-05-01T11:30:00-02:00", "c": "2024-05-01", "d": "May", "e": 5}
    publish(*(an_item(name, properties={"datetime": TIMES[0], "updated": value}) for name, value in values.items()))
    since = {"op": ">=", "args": [{"property": "updated"}, {"timestamp": "2024-05-01T12:00:00Z"}]}
    query = ItemQuery(9, filter=since, sort=(SortKey("id"),))
    without = [record.id for record in Catalog(database).search(query, UNRESTRICTED).records]
    assert [line.partition(" by ")[2].split(",")[0] for line in index("add", "updated")] == ["number", "string", "time"]
    assert [record.id for record in Catalog(database).search(query, UNRESTRICTED).records] == without == ["a", "b"]


def test_default_names_are_those_of_the_setting(publish: Publish, index: Index) -> None:
    """Without names, the properties of STACFLASK_INDEXES are indexed."""
    publish(an_item("a", properties={"datetime": TIMES[0], "n": 1, "b": True}))
    output = index("add", STACFLASK_INDEXES="n, properties.b")
    assert [line.split(":")[0] for line in output] == ["n", "b", "b", "b"]


def test_unknown_and_invalid_properties_are_refused(index: Index) -> None:
    """A property that no item has, or an invalid name, is refused in one line."""
    assert index("add", "nix", code=2) == [
        "error: property: no item has a 'nix' that is a number, a string or a boolean"
    ]
    assert index("add", "a\ud800", code=2)[0].startswith("error: property: ")


def test_an_unfinished_index_is_replaced(database: Database, publish: Publish, index: Index) -> None:
    """An unfinished index of an interrupted command is not used, and the next command replaces it."""
    publish(an_item("a", properties={"datetime": TIMES[0], "n": 1}))
    label = indexes.PropertyIndex("n", "number").label
    with database.write() as connection:
        connection.execute(sa.text(f"CREATE INDEX {label} ON items (id)"))
    assert indexes.IndexCache(database).indexed_types("n") == ()
    assert index("add", "n")[0].startswith("n: indexed")
    assert indexes.IndexCache(database).indexed_types("n") == ("number",)


def test_concurrent_commands_are_refused(database: Database, index: Index) -> None:
    """While one command creates indexes, another one fails with an error."""
    with database.write() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(indexes.ADVISORY_LOCK)))
        assert "Another command" in index("add", "n", code=2)[0]


def test_migrations_ignore_property_indexes(publish: Publish, index: Index, database_url: str) -> None:
    """Alembic does not report an operator's index as missing in the code."""
    from tests.catalog.database.test_migrations import alembic, done

    publish(an_item("a", properties={"datetime": TIMES[0], "n": 1}))
    index("add", "n")
    assert "No new upgrade operations detected" in done(alembic(database_url, "check"))


def test_a_value_too_long_for_an_index_is_refused(publish: Publish, index: Index) -> None:
    """A string too long for an index is an error of the document, which is not stored."""
    publish(an_item("a", properties={"datetime": TIMES[0], "s": "x"}))
    index("add", "s")
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=9000))
    with pytest.raises(BadDocument):
        publish(an_item("b", properties={"datetime": TIMES[0], "s": noise}))


DOTTED: list[dict[str, Any]] = [{"s.v": 1}, {"s": {"v": 2}}, {"s.v": 3, "s": {"v": 9}}, {"s": 4}, {}]


def test_an_index_on_a_name_with_dots_serves_searches(database: Database, publish: Publish, index: Index) -> None:
    """An index on a name with dots contains the property's values, and serves filters and sorted lists."""
    publish(*(an_item(f"i{n}", properties={"datetime": TIMES[0], **own}) for n, own in enumerate(DOTTED)))
    assert "s.v: indexed 3 items by number" in index("add", "s.v")[0]
    for query in (
        ItemQuery(2, filter={"op": "<", "args": [{"property": "properties.s.v"}, 3]}),
        ItemQuery(2, sort=(SortKey("s.v", True),)),
    ):
        index_of = indexes.PropertyIndex("s.v", "number").label
        assert index_of in plan(database, index_of, query)


def test_an_outdated_index_on_a_name_with_dots_is_replaced(database: Database, publish: Publish, index: Index) -> None:
    """An index of an earlier release has another expression: it is listed as not in use, and can be replaced."""
    publish(*(an_item(f"i{n}", properties={"datetime": TIMES[0], **own}) for n, own in enumerate(DOTTED)))
    label = indexes.PropertyIndex("s.v", "number").label
    with database.write() as connection:
        connection.execute(sa.text(f"CREATE INDEX {label} ON items ((properties -> 's' ->> 'v'))"))
        comment = """COMMENT ON INDEX {} IS '{{"property"\\: "s.v", "form"\\: "number"}}'"""
        connection.execute(sa.text(comment.format(label)))
    assert index("list") == ["s.v by number: not in use: add it again"]
    assert "s.v: indexed 3 items by number" in index("add", "s.v")[0]
    assert "s.v by number: 3 items" in index("list")[0]
