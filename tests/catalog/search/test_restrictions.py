"""Restrictions of collections, by conditions and by ids, hide the same records from every kind of request."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from stacflask.catalog.database.engine import Database
from stacflask.catalog.reader import Catalog
from stacflask.catalog.search import long_name_lists
from stacflask.errors import NotFound
from stacflask.model.decision import Only, Restriction
from stacflask.model.query import CollectionQuery, ItemQuery, QueryInterval, SortKey
from stacflask.testing import Publish, a_collection, an_item

NAMES = ("a", "b", "c")


def ids(*names: str) -> dict[str, Any]:
    return {"op": "in", "args": [{"property": "id"}, list(names)]}


def op(name: str, *args: Any) -> dict[str, Any]:
    return {"op": name, "args": list(args)}


OPEN = op("=", {"property": "license"}, "open")


def restricted(collections: Any) -> Restriction:
    """Return a restriction of collections by a condition, or by ids."""
    return Restriction(only=collections) if isinstance(collections, Only) else Restriction(collections=collections)


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
        (op("in", {"property": "id"}, ("a", "c")), "ac"),
        (op("and", op("in", {"property": "id"}, ("a", "b")), OPEN), "b"),
        (OPEN, "b"),
        (op("or", ids("a"), OPEN), "ab"),
        (op("and", ids("a"), OPEN), ""),
        (op("in", {"property": "id"}, [{"op": "upper", "args": ["a"]}, "c"]), "c"),
        (Only(("a", "c", "absent")), "ac"),
        (~Only("b" for _ in range(2)), "ac"),
        (Only(()), ""),
        (~Only(()), "abc"),
        (Only(("a", "b")) & ~Only(("b", "c")), "a"),
        (Only((*(f"name-{number}" for number in range(3000)), "b")), "b"),
        (~Only((*(f"name-{number}" for number in range(3000)), "b")), "ac"),
        (ids(*(f"name-{number}" for number in range(3000)), "b"), "b"),
        (ids(*(f"{{\"quoted\", '{number}' \\}}" for number in range(50)), "b"), "b"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_requests_by_name_see_the_same_as_lists(
    database: Database, publish: Publish, condition: Any, seen: str
) -> None:
    """Requests that name collections return the same collections and items as a search of all."""
    publish(*(a_collection(name, license="open" if name == "b" else "other") for name in NAMES))
    publish(*(an_item(f"item-{name}", name) for name in NAMES))
    catalog, restriction = Catalog(database), restricted(condition)

    def found(*names: str) -> set[str]:
        query = ItemQuery(10, collections=names or None)
        return {record.collection for record in catalog.search(query, restriction).records}

    def shown(read: Callable[[str], Any]) -> set[str]:
        visible = set()
        for name in (*NAMES, "absent"):
            try:
                visible.add(read(name).collection)
            except NotFound:
                continue
        return visible

    page = catalog.collections(CollectionQuery(10), restriction)
    assert {record.id for record in page.records} == {name for name, _ in catalog.titles(restriction)} == set(seen)
    assert found() == found(*NAMES) == set(seen)
    assert {name for name in NAMES if found(name)} == set(seen)
    assert shown(lambda name: catalog.collection(name, restriction)) == set(seen)
    assert shown(lambda name: catalog.item(name, f"item-{name}", restriction)) == set(seen)


MANY = [f"name-{number}" for number in range(3000)]


@pytest.mark.parametrize("only", [Only((*MANY, "b")), ~Only((*MANY, "a", "c"))], ids=["in", "not in"])
def test_names_with_equal_hashes_are_distinguished(
    database: Database, publish: Publish, monkeypatch: pytest.MonkeyPatch, only: Only
) -> None:
    """If visible and hidden names have the same hash, no hidden collection becomes visible."""
    monkeypatch.setattr(long_name_lists, "MAX_HIDDEN_NAMES", 1)
    monkeypatch.setattr(long_name_lists, "_hash", lambda _: sa.literal_column("7::bigint", sa.BigInteger()))
    publish(*(a_collection(name) for name in NAMES), *(an_item(f"item-{name}", name) for name in NAMES))
    catalog, restriction = Catalog(database), Restriction(only=only)
    shown = {record.collection for record in catalog.search(ItemQuery(10), restriction).records}
    listed = {record.id for record in catalog.collections(CollectionQuery(10), restriction).records}
    assert shown == listed
    assert shown <= {"b"}


@pytest.mark.parametrize("both", [True, False], ids=["both", "ids"])
def test_ids_and_a_condition_restrict_together(database: Database, publish: Publish, *, both: bool) -> None:
    """A collection is visible if its id is permitted and the condition of another plugin holds."""
    publish(*(a_collection(name, license="other" if name == "a" else "open") for name in NAMES))
    publish(*(an_item(f"item-{name}", name) for name in NAMES))
    catalog = Catalog(database)
    restriction = Restriction(collections=OPEN if both else None, only=Only((*MANY, "a", "b")))
    seen = ["b"] if both else ["a", "b"]
    assert sorted(record.collection for record in catalog.search(ItemQuery(10), restriction).records) == seen
    assert [record.id for record in catalog.collections(CollectionQuery(10), restriction).records] == seen
    assert sorted(catalog.observe_items(NAMES, restriction, 10)) == ["datetime"]
    assert catalog.count(ItemQuery(10), restriction, 10).matched == len(seen)


@pytest.mark.parametrize(
    ("names", "error"), [("abc", TypeError), ([1], TypeError), (["a\0"], ValueError), (["\ud800"], ValueError)], ids=str
)
def test_ids_that_no_collection_can_have_are_refused(names: Any, error: type[Exception]) -> None:
    """Names that are no text raise an error where the plugin makes the value."""
    with pytest.raises(error):
        Only(names)


@pytest.mark.parametrize("few", [0, 1, 2, 100])
def test_a_later_collection_is_hidden_unless_listed(
    database: Database, publish: Publish, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """A user who could see all existing collections cannot see a later one, unless the list contains it."""
    monkeypatch.setattr(long_name_lists, "MAX_HIDDEN_NAMES", few)
    publish(*(a_collection(name) for name in NAMES), *(an_item(f"item-{name}", name) for name in NAMES))
    catalog, restriction = Catalog(database), Restriction(only=Only((*MANY, *NAMES, "named")))

    def shown(limit: int = 10) -> list[str]:
        listed = [record.id for record in catalog.collections(CollectionQuery(limit), restriction).records]
        found = [record.collection for record in catalog.search(ItemQuery(limit), restriction).records]
        assert sorted(found) == listed == [name for name, _ in catalog.titles(restriction)][:limit]
        return listed

    assert shown() == ["a", "b", "c"]
    publish(a_collection("hidden"), an_item("item-hidden", "hidden"))
    publish(a_collection("named"), an_item("item-named", "named"))
    assert shown() == ["a", "b", "c", "named"]
    publish(*(a_collection(f"further-{number}") for number in range(3)))
    publish(*(an_item("item", f"further-{number}") for number in range(3)))
    assert shown() == ["a", "b", "c", "named"]


SORTS = {
    "newest first": (),
    "oldest first": (SortKey("datetime"),),
    "by time and id": (SortKey("datetime", descending=True), SortKey("id")),
    "by id": (SortKey("id"),),
    "by id, last first": (SortKey("id", descending=True),),
    "by collection": (SortKey("collection"),),
}


@pytest.mark.parametrize("sort", SORTS.values(), ids=SORTS)
@pytest.mark.parametrize(
    "interval", [None, QueryInterval(datetime(2024, 1, 2, tzinfo=UTC), None)], ids=["all", "later"]
)
def test_a_few_collections_have_the_order_of_all(
    database: Database, publish: Publish, sort: tuple[SortKey, ...], interval: QueryInterval | None
) -> None:
    """Pages of a few collections have the order of all, in both directions, without gaps or repetitions."""
    publish(*(a_collection(name) for name in NAMES))
    for number in range(30):
        when = {"datetime": f"2024-01-0{number % 3 + 1}T00:00:00Z"}
        publish(an_item(f"item-{number * 7 % 30}", NAMES[number % 5 % 3], properties=when))
    catalog, embargo = Catalog(database), op("<", {"property": "datetime"}, {"timestamp": "2024-01-03T00:00:00Z"})

    def listed(restriction: Restriction, **words: Any) -> list[tuple[str, str]]:
        query = ItemQuery(words.pop("limit", 100), sort=sort, interval=interval, **words)
        pages = [catalog.search(query, restriction)]
        while pages[-1].next is not None:
            pages.append(catalog.search(replace(query, token=pages[-1].next), restriction))
        back = [pages[-1]]
        while back[-1].prev is not None:
            back.append(catalog.search(replace(query, token=back[-1].prev), restriction))
        assert [page.records for page in reversed(back)] == [page.records for page in pages]
        return [(record.collection, record.id) for page in pages for record in page.records]

    for hidden in (None, embargo):
        every = listed(Restriction(items=hidden))
        part = [one for one in every if one[0] != "b"]
        assert len(every) > len(part) > 3
        assert listed(Restriction(items=hidden), collections=("c", "a", "c", "absent"), limit=2) == part
        assert listed(Restriction(items=hidden, only=Only(("a", "c", "absent"))), limit=2) == part
        assert listed(Restriction(items=hidden, only=Only((*MANY, "c", "a"))), limit=3) == part


@pytest.mark.parametrize("policy", [~Only(("hidden",)), OPEN, Only(("seen", "b"))], ids=str)
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"bbox": (0.0, 0.0, 90.0, 90.0)},
        {"filter": op("=", {"property": "id"}, "no such")},
        {"collections": ("hidden",), "bbox": (0.0, 0.0, 90.0, 90.0)},
    ],
    ids=str,
)
def test_hidden_and_absent_collections_need_equally_many_statements(
    database: Database, publish: Publish, policy: Any, asked: dict[str, Any]
) -> None:
    """Searches run as many statements for hidden as for absent collections, so that clients cannot distinguish them."""
    publish(a_collection("seen", license="open"), a_collection("hidden", license="other"))
    publish(*(an_item(f"item-{number}", name) for number in range(30) for name in ("seen", "hidden")))
    durations: list[float] = []
    catalog = Catalog(Database(database.engine, durations.append))

    def statements_for(name: str) -> int:
        names = asked.get("collections", ("seen", "hidden"))
        query = ItemQuery(10, **{**asked, "collections": tuple(name if one == "hidden" else one for one in names)})
        counts = set()
        for _ in range(3):  # the first search also fills caches
            durations.clear()
            catalog.search(query, restricted(policy))
            counts.add(len(durations))
        return min(counts)

    assert statements_for("hidden") == statements_for("absent")
