"""Restrictions that look at ids alone are weighed without the database, and mean the same."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from stacflask.catalog import seeing
from stacflask.catalog.database import Database
from stacflask.catalog.reading import Catalog
from stacflask.errors import NotFound
from stacflask.testing import Publish, a_collection, an_item
from stacflask.values import CollectionQuery, ItemQuery, Restriction

NAMES = ("a", "b", "c")


def ids(*names: str) -> dict[str, Any]:
    return {"op": "in", "args": [{"property": "id"}, list(names)]}


def op(name: str, *args: Any) -> dict[str, Any]:
    return {"op": name, "args": list(args)}


OPEN = op("=", {"property": "license"}, "open")


@pytest.mark.parametrize(
    ("condition", "seen"),
    [
        (True, "abc"),
        (False, ""),
        (ids("a", "c", "absent"), "ac"),
        (op("=", {"property": "id"}, "b"), "b"),
        (op("not", ids("a")), "bc"),
        (op("and", ids("a", "b"), op("not", ids("b"))), "a"),
        (op("or", ids("a"), op("=", {"property": "id"}, "c")), "ac"),
        (OPEN, "b"),
        (op("or", ids("a"), OPEN), "ab"),
        (op("and", ids("a"), OPEN), ""),
        (op("in", {"property": "id"}, [{"op": "upper", "args": ["a"]}, "c"]), "c"),
        (ids(*(f"name-{number}" for number in range(3000)), "b"), "b"),
        (op("not", ids(*(f"name-{number}" for number in range(3000)), "b")), "ac"),
        (ids(*(f"{{\"quoted\", '{number}' \\}}" for number in range(50)), "b"), "b"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_by_name_as_without(database: Database, publish: Publish, condition: Any, seen: str) -> None:
    """By name, one by one or in a search, collections and their items are those that a search of all shows."""
    publish(*(a_collection(name, license="open" if name == "b" else "other") for name in NAMES))
    publish(*(an_item(f"item-{name}", name) for name in NAMES))
    catalog, restriction = Catalog(database), Restriction(collections=condition)

    def found(*names: str) -> set[str]:
        query = ItemQuery(10, collections=names or None)
        return {record.collection for record in catalog.search(query, restriction).records}

    def shown(show: Callable[[str], Any]) -> set[str]:
        there = set()
        for name in (*NAMES, "absent"):
            try:
                there.add(show(name).collection)
            except NotFound:
                continue
        return there

    page = catalog.collections(CollectionQuery(10), restriction)
    assert {record.id for record in page.records} == {name for name, _ in catalog.titles(restriction)} == set(seen)
    assert found() == found(*NAMES) == set(seen)
    assert {name for name in NAMES if found(name)} == set(seen)
    assert shown(lambda name: catalog.collection(name, restriction)) == set(seen)
    assert shown(lambda name: catalog.item(name, f"item-{name}", restriction)) == set(seen)


MANY = [f"name-{number}" for number in range(3000)]


@pytest.mark.parametrize("condition", [ids(*MANY, "b"), op("not", ids(*MANY, "a", "c"))], ids=["in", "not in"])
def test_names_with_the_same_hash_are_told_apart(
    database: Database, publish: Publish, monkeypatch: pytest.MonkeyPatch, condition: Any
) -> None:
    """Where names that may be seen and others have one hash, nobody sees more for it."""
    monkeypatch.setattr(seeing, "_hash", lambda _: sa.literal_column("7::bigint", sa.BigInteger()))
    publish(*(a_collection(name) for name in NAMES), *(an_item(f"item-{name}", name) for name in NAMES))
    catalog, restriction = Catalog(database), Restriction(collections=condition)
    shown = {record.collection for record in catalog.search(ItemQuery(10), restriction).records}
    listed = {record.id for record in catalog.collections(CollectionQuery(10), restriction).records}
    assert shown == listed
    assert shown <= {"b"}


@pytest.mark.parametrize("more", [[], MANY], ids=["few", "many"])
def test_lists_that_change_are_noticed(database: Database, publish: Publish, more: list[str]) -> None:
    """A policy that changes the list it gave before is obeyed, and collections that come later count at once."""
    publish(*(a_collection(name) for name in NAMES), *(an_item(f"item-{name}", name) for name in NAMES))
    names = [*more, "a", "late"]
    catalog, restriction = Catalog(database), Restriction(collections=ids(*names))
    restriction.collections["args"][1] = names

    def shown() -> set[str]:
        return {record.collection for record in catalog.search(ItemQuery(10), restriction).records}

    assert shown() == {"a"}
    names.append("c")
    names.remove("a")
    assert shown() == {"c"}
    publish(a_collection("late"), an_item("item-late", "late"))
    assert shown() == {"c", "late"}
